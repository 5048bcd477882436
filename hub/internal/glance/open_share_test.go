package glance

import (
	"context"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/berth"
)

// Slow readers of one project take no more than its share of the downloads.
func TestDownloadsOfOneProject(t *testing.T) {
	t.Parallel()
	s := &Server{downloads: berth.New(mostDownloads, projectDownloads)}
	ended, end := context.WithCancel(t.Context())
	end()
	turn := func(project string) error {
		_, err := s.takeTurn(auth.With(ended, &auth.Caller{ProjectID: project}))
		return err
	}
	for range projectDownloads {
		if err := turn("slow"); err != nil {
			t.Fatal(err)
		}
	}
	if err := turn("slow"); err == nil {
		t.Error("a project has more than its share")
	}
	if err := turn("other"); err != nil {
		t.Errorf("another project waits: %v", err)
	}
}
