package edge

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/berth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Bounds of downloads. Together they take at most downloads * window * 4 MiB of memory, 128 MiB, and the driver's buffers
// for the reads.
const (
	downloads = 16               // at once, in all stores; others wait
	share     = 8                // of them for one project, so that slow readers do not keep the others from booting
	window    = 2                // chunks of one download being read or sent
	reading   = 8                // reads at once of all downloads
	queueWait = 10 * time.Second // longest wait for a place among the downloads
)

// The keys under which a copy written by Atoll, or taken over, notes its content and its image. A clone inherits them: a
// copy made from an instance's disk has those of another image until it has been taken over.
const (
	metaContent = "atoll.content"
	metaImage   = "atoll.image"
)

// data reads images from the site's stores. It implements imageapi.Opener.
type data struct {
	pools map[image.StoreID]rbd.Pool
	slots *berth.Berths // a place for each download
	reads chan struct{} // and for each read
	wait  time.Duration
	log   hclog.Logger
}

func newData(pools map[image.StoreID]rbd.Pool, log hclog.Logger) *data {
	return &data{pools: pools, slots: berth.New(downloads, share), reads: make(chan struct{}, reading), wait: queueWait, log: log}
}

// Open returns a reader of the published copy's snapshot; see imageapi.Opener. It waits for a place among the downloads, not
// for ever. When a store cannot be read the next one is tried. The reader ends with ctx.
func (d *data) Open(ctx context.Context, img *imageapi.Image, prefer []string, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || offset > img.Size-length {
		return nil, fault.New(fault.Internal, "BAD_RANGE", "the image has %d bytes", img.Size)
	}
	give, err := d.take(ctx)
	if err != nil {
		return nil, err
	}
	last := fault.New(fault.Unavailable, "NO_COPY", "the site has no copy of the image that can be read")
	for _, store := range order(img.Stores, prefer) {
		pool := d.pools[image.StoreID(store)]
		if pool == nil {
			continue
		}
		snap, err := openCopy(ctx, pool, img)
		if err == nil {
			return newStream(ctx, &paced{snap, d.reads}, offset, length, give), nil
		}
		if ctx.Err() != nil {
			give()
			return nil, ctx.Err()
		}
		d.log.Warn("copy not readable", "image", img.ID, "store", store, "error", err)
		last = fault.Wrap(err, fault.Unavailable, "NO_COPY", "the site has no copy of the image that can be read")
	}
	give()
	return nil, last
}

// take waits for a place among the downloads.
func (d *data) take(ctx context.Context) (give func(), err error) {
	busy := fault.New(fault.Unavailable, "TOO_MANY_DOWNLOADS", "the site is busy with other downloads, or with %d of your project", share)
	ctx, cancel := context.WithTimeoutCause(ctx, d.wait, busy)
	defer cancel()
	var project string
	if c := auth.From(ctx); c != nil {
		project = c.ProjectID
	}
	return d.slots.Take(ctx, project)
}

// order returns the stores, those that are preferred first.
func order(stores, prefer []string) []string {
	rank := func(s string) int {
		if i := slices.Index(prefer, s); i >= 0 {
			return i
		}
		return len(prefer)
	}
	out := slices.Clone(stores)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// openCopy opens the published copy of an image and makes sure that it is the image's content.
func openCopy(ctx context.Context, pool rbd.Pool, img *imageapi.Image) (rbd.Snapshot, error) {
	snap, err := pool.OpenSnapshot(ctx, string(img.ID))
	if err != nil {
		return nil, err
	}
	content, err := snap.Meta(ctx, metaContent)
	var owner string
	if err == nil {
		owner, err = snap.Meta(ctx, metaImage)
	}
	foreign := owner != "" && owner != string(img.ID)
	switch {
	case err != nil:
	case content != "" && !foreign && content != string(img.ContentID): // copies made by others carry no note of their own
		err = fault.New(fault.Precondition, "NAME_TAKEN", "the pool holds another content of this image")
	case snap.Size() != img.Size:
		err = fault.New(fault.Corrupt, "CONTENT_DIFFERS", "the copy has %d bytes, the image %d", snap.Size(), img.Size)
	default:
		return snap, nil
	}
	_ = snap.Close()
	return nil, err
}

// paced is a snapshot of which a bounded number of reads is under way, together with others.
type paced struct {
	rbd.Snapshot
	slots chan struct{}
}

// ReadAt waits for its turn.
func (p *paced) ReadAt(ctx context.Context, b []byte, off int64) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.Snapshot.ReadAt(ctx, b, off)
}

// block returns the length of the next read: up to the end of the chunk that off lies in, and at most left.
func block(off, left int64) int {
	return int(min(left, manifest.ChunkSize-off%manifest.ChunkSize))
}
