package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Digests of no bytes at all, in hex.
const (
	md5OfNothing    = "d41d8cd98f00b204e9800998ecf8427e"
	sha512OfNothing = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

// ActivateEmpty makes a queued image an active one whose data is empty. Nova stores the snapshot of a server that runs
// from a volume so: all that matters of it is in its properties. No store holds a copy of such an image. Errors:
// NOT_QUEUED, NO_FORMAT.
func (c *Catalog) ActivateEmpty(ctx context.Context, id image.ID) error {
	return c.repeat(ctx, func() error {
		old, rev, err := c.importable(Import{Image: id})
		if err != nil {
			return err
		}
		img := proto.CloneOf(old)
		img.Status = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
		img.UpdateTime = c.stamp()
		img.Content = &storev1.Content{Complete: true, Md5: md5OfNothing, Sha512: sha512OfNothing}
		img.FailedStores = nil
		return c.records.Commit(ctx, Write{Key: ImageKey(id), Value: img, Revision: rev})
	})
}

// errEmpty refuses to copy an image without data.
func errEmpty(id image.ID) error {
	return fault.New(fault.Precondition, "EMPTY_IMAGE", "image %s holds no data that could be copied", id)
}
