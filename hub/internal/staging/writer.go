package staging

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/atoll-dcn/atoll/hub/internal/sketch"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const (
	syncWorkers = 2  // fsync calls at the same time while a content grows
	syncBacklog = 64 // frames written and not yet durable before Append waits for the disk
)

// Writer appends chunks to a new content. It is used by one goroutine, which must call Commit or Abort in the end: the
// Writer has goroutines of its own.
type Writer struct {
	a     *Area
	c     *content
	short bool // the last chunk was shorter than ChunkSize

	sketch   sketch.Sketch
	sketched int // chunks with data that it is of

	unsynced chan int
	workers  sync.WaitGroup
	stop     sync.Once
	syncMu   sync.Mutex
	syncErr  error
}

// Create begins a content. Errors: Exists, Unavailable (ReasonDisk).
func (a *Area) Create(id image.ID) (*Writer, error) { return a.create(id, false) }

func (a *Area) create(id image.ID, transient bool) (*Writer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.contents[id] != nil {
		return nil, fault.New(fault.Exists, "CONTENT_EXISTS", "content %s exists already", id)
	}
	c := newContent(a.o.Dir, id, a.o.Now())
	for _, dir := range []string{c.dir, filepath.Join(c.dir, framesDir)} { // no parents: the area may have been claimed
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, diskFault(err)
		}
	}
	c.writing, c.transient = true, transient
	a.contents[id] = c
	w := &Writer{a: a, c: c, unsynced: make(chan int, syncBacklog)}
	for range syncWorkers {
		w.workers.Go(w.sync)
	}
	return w, nil
}

// Append adds the next chunk: manifest.ChunkSize bytes, or 1 or more when it is the last. chunk may be used again
// afterwards. Zeroes are noticed and not stored. Readers see the chunk when Append returns. It waits while the area is
// full. Errors: Invalid, Precondition (manifest.ReasonGone) when the content was forgotten, Unavailable (ReasonDisk),
// Exhausted (ReasonFull) when ctx ended during the wait for space. After an error only Abort makes sense.
func (w *Writer) Append(ctx context.Context, chunk []byte) error {
	a, c := w.a, w.c
	if len(chunk) < 1 || len(chunk) > manifest.ChunkSize || w.short {
		return fault.New(fault.Invalid, "BAD_CHUNK", "every chunk but the last has %d bytes", manifest.ChunkSize)
	}
	w.short = len(chunk) < manifest.ChunkSize
	a.mu.Lock()
	index, err := len(c.digests), c.cause
	a.mu.Unlock()
	if err == nil {
		err = w.syncFailure()
	}
	if err == nil && index == manifest.MaxChunks {
		err = errTooLong()
	}
	if err != nil {
		return err
	}
	if frame.IsZero(chunk) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return w.grow(len(chunk), manifest.Digest{})
	}
	return w.store(ctx, index, chunk)
}

// AppendZeroes adds the next n chunks, which hold zeroes only and are all of manifest.ChunkSize bytes. It does not block.
// Errors are those of Append.
func (w *Writer) AppendZeroes(n int) error {
	a, c := w.a, w.c
	if n < 1 || w.short {
		return fault.New(fault.Invalid, "BAD_CHUNK", "every chunk but the last has %d bytes", manifest.ChunkSize)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.state == growing && n > manifest.MaxChunks-len(c.digests) {
		return errTooLong()
	}
	return w.grow(n*manifest.ChunkSize, make([]manifest.Digest, n)...)
}

func errTooLong() error {
	return fault.New(fault.Invalid, "CONTENT_TOO_LONG", "a content has at most %d bytes", manifest.MaxLength)
}

// store hashes and writes a chunk at the same time, then shows it to readers.
func (w *Writer) store(ctx context.Context, index int, chunk []byte) error {
	a, c := w.a, w.c
	header := frame.Header{Codec: frame.Raw, Raw: len(chunk), Payload: len(chunk)}
	size := int64(header.Size())
	a.mu.Lock()
	err := a.reserve(ctx, c, size)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	digest := make(chan manifest.Digest, 1)
	go func() {
		w.sketch.Add(chunk)
		digest <- frame.Sum(chunk)
	}()
	err = a.write(ctx, c, index, header.Append(nil), chunk)
	sum := <-digest
	if err == nil {
		err = w.show(sum, len(chunk), size)
	}
	if err != nil {
		a.mu.Lock()
		a.release(size)
		a.mu.Unlock()
		return err
	}
	w.sketched++
	a.m.appended.Add(float64(len(chunk)))
	if !c.transient {
		w.unsynced <- index
	}
	return nil
}

// show lets readers see a chunk and its frame.
func (w *Writer) show(d manifest.Digest, n int, size int64) error {
	a, c := w.a, w.c
	a.mu.Lock()
	defer a.mu.Unlock()
	index := len(c.digests)
	if err := w.grow(n, d); err != nil {
		_ = a.disk.Remove(c.framePath(index))
		return err
	}
	a.arrived(&file{c: c, index: index, size: size, last: a.o.Now()})
	return nil
}

// grow adds chunks of together n bytes and wakes the readers. Lock held.
func (w *Writer) grow(n int, digests ...manifest.Digest) error {
	c := w.c
	if c.state != growing {
		return c.cause
	}
	c.digests = append(c.digests, digests...)
	c.bytes += int64(n)
	c.changed()
	return nil
}

// sync makes frames durable while later ones are written, so that Commit has little left to do.
func (w *Writer) sync() {
	for index := range w.unsynced {
		// A frame that was evicted in the meantime is in the central store.
		if err := w.a.disk.Sync(w.c.framePath(index)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.syncMu.Lock()
			w.syncErr = errors.Join(w.syncErr, err)
			w.syncMu.Unlock()
		}
	}
}

func (w *Writer) syncFailure() error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	if w.syncErr != nil {
		return diskFault(w.syncErr)
	}
	return nil
}

// finishSync waits until the workers have synced all frames.
func (w *Writer) finishSync() {
	w.stop.Do(func() { close(w.unsynced) })
	w.workers.Wait()
}
