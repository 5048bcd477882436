package api

import (
	"context"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/berth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Slow readers of one project take no more than its share of the downloads.
func TestDownloadsOfOneProject(t *testing.T) {
	t.Parallel()
	s := &images{view: &view{downloads: berth.New(mostDownloads, projectDownloads)}}
	ended, end := context.WithCancel(t.Context())
	end()
	turn := func(project string) error {
		_, err := s.turn(auth.With(ended, &auth.Caller{ProjectID: project}))
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

// Watches are bounded, and those of one project leave room for others.
func TestWatchesAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := desk(t)
	for range projectWatches {
		if _, ok := s.watches.Try(boss.ProjectID); !ok {
			t.Fatal("no room for a project's share")
		}
	}
	w := &watcher{ctx: auth.With(t.Context(), boss)}
	if err := s.WatchImages(&hubv1.WatchImagesRequest{}, w); fault.ReasonOf(err) != "TOO_MANY_WATCHES" {
		t.Errorf("one more than a project's share: %v", err)
	}
	if _, ok := s.watches.Try("other"); !ok {
		t.Error("no room for another project")
	}
}
