// Package staging is the hub's chunk store: every byte that reaches a site passes through it once.
//
// A content is written chunk by chunk and read at the same time (cut-through): readers wait for what has not arrived. Once
// committed it is immutable. Its manifest stays until Forget; its frames are a cache with a size limit: what nobody needs
// goes, and a frame that is missing when somebody asks for it is fetched again from a site that offers the content. As
// long as the central store does not have a chunk its frame is pinned.
//
// On disk: DIR/contents/CONTENT/manifest and DIR/contents/CONTENT/frames/INDEX. All files appear by rename, so a file
// that exists is whole; a content without a manifest was never committed and is dropped when the area is opened.
package staging

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// MinLimit is the smallest limit of an area in bytes.
const MinLimit = 8 * frame.MaxSize

// Reasons of errors, besides manifest.ReasonGone for a content whose source failed.
const (
	ReasonFull    = "STAGING_FULL" // no space, and nothing can be evicted
	ReasonDisk    = "STAGING_DISK" // the disk reports an error
	ReasonUnknown = "CONTENT_UNKNOWN"
	ReasonNoChunk = "NO_SUCH_CHUNK"
	ReasonGrowing = "CONTENT_GROWING"
	ReasonDamaged = "FRAME_DAMAGED" // the only copy of a chunk differs from its digest
)

// Options configures an Area. Zero values mean the defaults, except Retention.
type Options struct {
	Dir       string        // created if missing; used by one process at a time
	Limit     int64         // most bytes in frames, at least MinLimit; manifests do not count
	Retention time.Duration // how long frames stay that nobody needs; 0 means not at all
	Window    int           // how many chunks beyond the one being read are fetched ahead from offers; default 32
	Lease     time.Duration // how long an offering agent has to send a chunk before another is asked; default 30 s
	Linger    time.Duration // how long a content counts as wanted after a reader has waited for it; default 30 s
	Patience  time.Duration // how long a transient content waits for space while none becomes free; default 5 min
	Now       func() time.Time
	Log       hclog.Logger
	Registry  prometheus.Registerer // may be nil
}

// Area is a staging area. Methods may be called at the same time from several goroutines.
type Area struct {
	o    Options
	disk disk
	lock *os.File // held while the area is open
	m    metrics

	kick  chan struct{} // something may have to be collected
	wants chan struct{} // the answer of Wants may have changed

	mu        sync.Mutex // never held while files are read or written
	contents  map[image.ID]*content
	missed    map[image.ID]time.Time // contents that are not here, and when somebody last asked for them
	told      bool                   // SetNeeds has been called
	used      int64                  // bytes of all frames, those being written and removed included
	goneBytes int64                  // bytes of all frames that have gone since the area was opened
	gaveUp    time.Time              // when a transient content last gave up to wait for space
	waiting   int                    // how many callers wait for space
	freed     chan struct{}          // closed and replaced when space may be available
	victims   []victim               // next frames to evict, best first; checked again when taken
}

// Open opens the area in a directory and recovers what is there: committed contents with their frames; what was being
// written is removed. Errors name the field, or are Precondition when another process has the area open, or Unavailable
// (ReasonDisk). The caller runs Run and calls Close at the end.
func Open(o Options) (*Area, error) {
	if o.Limit < MinLimit {
		return nil, fault.BadField("staging-limit", "the staging area needs at least %d bytes", int64(MinLimit))
	}
	if o.Retention < 0 {
		return nil, fault.BadField("staging-retention", "the time must not be negative")
	}
	o.setDefaults()
	a := &Area{
		o: o, disk: osDisk{}, kick: make(chan struct{}, 1), wants: make(chan struct{}, 1),
		m: newMetrics(), contents: map[image.ID]*content{}, missed: map[image.ID]time.Time{}, freed: make(chan struct{}),
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, contentsDir), 0o700); err != nil {
		return nil, diskFault(err)
	}
	var err error
	if a.lock, err = lockDir(o.Dir); err != nil {
		return nil, err
	}
	if err := a.recover(); err != nil {
		_ = a.lock.Close()
		return nil, err
	}
	a.m.register(o.Registry, a)
	return a, nil
}

func (o *Options) setDefaults() {
	if o.Window == 0 {
		o.Window = 32
	}
	if o.Lease == 0 {
		o.Lease = 30 * time.Second
	}
	if o.Linger == 0 {
		o.Linger = 30 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
}

// Close lets another process open the area. Call it after all other methods have returned.
func (a *Area) Close() error { return a.lock.Close() }

// wait releases the lock until ch is closed or ctx ends, and returns the cause in that case.
func (a *Area) wait(ctx context.Context, ch <-chan struct{}) error {
	a.mu.Unlock()
	defer a.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// notify puts a value into a channel of capacity 1 unless there is one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
