package importer

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// hashAgain says when a content is hashed again that could not be.
var hashAgain = retry.Policy{Initial: time.Second, Max: 5 * time.Minute}

// hash computes the digests of active images that have none, because their disks are mostly holes, one after the other until
// ctx ends. The records say what is left to do, so nothing is lost with the process.
func (im *Importer) hash(ctx context.Context) {
	sub := im.Catalog.Subscribe()
	defer sub.Close()
	left := map[image.ID]bool{}
	for _, img := range im.Catalog.Read().Images() {
		left[image.ID(img.Id)] = true
	}
	wait := hashAgain.Backoff()
	for ctx.Err() == nil {
		failed := im.hashAll(ctx, left)
		var again <-chan time.Time
		if failed {
			t := time.NewTimer(wait.Next())
			defer t.Stop()
			again = t.C
		} else {
			wait.Reset()
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-sub.C():
			keys, reset := sub.Take()
			for _, k := range keys {
				if k.Kind == catalog.KindImage {
					left[image.ID(k.ID)] = true
				}
			}
			if reset {
				for _, img := range im.Catalog.Read().Images() {
					left[image.ID(img.Id)] = true
				}
			}
		}
	}
}

// hashAll hashes those of the images that need it, and leaves in the map what could not be hashed; it reports whether there
// is anything.
func (im *Importer) hashAll(ctx context.Context, left map[image.ID]bool) (failed bool) {
	for id := range left {
		delete(left, id)
		content := im.unhashed(id)
		if content == nil {
			continue
		}
		err := im.hashOne(ctx, id, content)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			im.Log.Info("digests of a sparse image computed", "image", string(id))
		case im.unhashed(id).GetId() == content.Id:
			im.Log.Warn("digests not computed yet", "image", string(id), "error", err)
			defer func() { left[id] = true }()
			failed = true
		}
	}
	return failed
}

// unhashed returns the content of an image whose digests are to be computed; nil when they are not.
func (im *Importer) unhashed(id image.ID) *storev1.Content {
	img, _ := im.Catalog.Read().Image(id)
	c := img.GetContent()
	if img.GetStatus() != storev1.ImageStatus_IMAGE_STATUS_ACTIVE || !c.GetComplete() || c.Md5 != "" || c.AdoptedFrom != "" || c.Id == "" {
		return nil
	}
	return c
}

// zeroRun is how many bytes of zeroes are hashed before the importer looks whether anybody still wants the digests.
const zeroRun = 1 << 30

// hashOne computes and records the digests of a content.
func (im *Importer) hashOne(ctx context.Context, id image.ID, content *storev1.Content) error {
	m, _, err := im.Area.Manifest(image.ID(content.Id))
	if err != nil {
		return err
	}
	s := startSums(md5.New(), sha512.New())
	defer func() { s.drop(); s.stop() }()
	r := im.Area.Reader(ctx, image.ID(content.Id))
	defer func() { _ = r.Close() }()
	for i := 0; i < len(m.Chunks); {
		if im.unhashed(id).GetId() != content.Id {
			return fault.New(fault.Precondition, "CONTENT_CHANGED", "image %s has other data now", id)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n := zeroes(m, i); n > 0 {
			s.addZeroes(n)
			i += manifest.Count(n)
			continue
		}
		buf := s.buffer()[:manifest.ChunkLen(m.Length, i)]
		if _, err := r.ReadAt(buf, int64(i)*manifest.ChunkSize); err != nil {
			return err
		}
		s.add(buf)
		i++
	}
	digests := s.finish()
	return im.Catalog.SetHashes(ctx, id, image.ID(content.Id), digests[0], digests[1])
}

// zeroes returns how many bytes of zeroes begin with chunk i, zeroRun at most.
func zeroes(m *manifest.Manifest, i int) (n int64) {
	for ; i < len(m.Chunks) && m.Chunks[i].IsZero() && n < zeroRun; i++ {
		n += int64(manifest.ChunkLen(m.Length, i))
	}
	return n
}
