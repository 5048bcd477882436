package importer

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"maps"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// hashAgain says when contents are hashed again that could not be.
var hashAgain = retry.Policy{Initial: time.Second, Max: 5 * time.Minute}

// hashPatience is how long the data of one chunk may take to come before another image has its turn: the only site that has
// it may be away.
const hashPatience = 2 * time.Minute

// hash computes the digests of active images that have none, because their disks are mostly holes, one after the other until
// ctx ends. The records say what is left to do, so nothing is lost with the process.
func (im *Importer) hash(ctx context.Context) {
	sub := im.Catalog.Subscribe()
	defer sub.Close()
	left, later := map[image.ID]bool{}, map[image.ID]bool{}
	all := func() {
		for _, img := range im.Catalog.Read().Images() {
			left[image.ID(img.Id)] = true
		}
	}
	all()
	wait := hashAgain.Backoff()
	var again *time.Timer // runs while there is something for later
	var due <-chan time.Time
	for {
		im.hashAll(ctx, left, later)
		switch {
		case ctx.Err() != nil:
			if again != nil {
				again.Stop()
			}
			return
		case len(later) == 0:
			wait.Reset()
		case due == nil:
			again = time.NewTimer(wait.Next())
			due = again.C
		}
		select {
		case <-ctx.Done():
		case <-due:
			due = nil
			maps.Copy(left, later)
			clear(later)
		case <-sub.C():
			keys, reset := sub.Take()
			for _, k := range keys {
				if id := image.ID(k.ID); k.Kind == catalog.KindImage && !later[id] {
					left[id] = true
				}
			}
			if reset {
				all()
			}
		}
	}
}

// hashAll hashes those of the images that need it, and moves to later what could not be hashed.
func (im *Importer) hashAll(ctx context.Context, left, later map[image.ID]bool) {
	for id := range left {
		delete(left, id)
		content := im.unhashed(id)
		if content == nil {
			continue
		}
		err := im.hashOne(ctx, id, content)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			im.Log.Info("digests of a sparse image computed", "image", string(id))
		case im.unhashed(id).GetId() == content.Id:
			im.Log.Warn("digests not computed yet", "image", string(id), "error", err)
			later[id] = true
		}
	}
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := im.Area.Reader(ctx, image.ID(content.Id))
	defer func() { _ = r.Close() }()
	silent := time.AfterFunc(im.patience, func() {
		cancel(fault.New(fault.Unavailable, "NO_SOURCE", "no site has sent the data of image %s for %s", id, im.patience))
	})
	silent.Stop() // runs during reads only
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
		silent.Reset(im.patience)
		_, err := r.ReadAt(buf, int64(i)*manifest.ChunkSize)
		silent.Stop()
		if err != nil {
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
