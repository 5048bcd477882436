package etcdstore

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Many requests that change one image at the same time, as when its copies at all sites are deleted, all succeed.
func TestManyChangeOneRecord(t *testing.T) {
	s := open(t, config(t, "hub"))
	campaign(t, s)
	c := catalog.New(s, "central", catalog.Limits{}, time.Now)
	img, err := c.CreateImage(t.Context(), catalog.NewImage{Name: "x", DiskFormat: "raw", ContainerFormat: "bare"})
	if err != nil {
		t.Fatal(err)
	}
	const many = 80
	var g errgroup.Group
	for i := range many {
		g.Go(func() error {
			return c.EditImage(t.Context(), image.ID(img.Id), 0, func(img *storev1.Image) error {
				img.Tags = append(img.Tags, fmt.Sprint("tag-", i))
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Image(image.ID(img.Id)); len(got.Tags) != many {
		t.Errorf("%d of %d changes are there", len(got.Tags), many)
	}
}
