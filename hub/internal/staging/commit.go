package staging

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Commit completes the content. length is what the source says it has sent in bytes. When Commit returns nil the content
// survives the loss of power, unless it is transient. It returns the root digest of the manifest and the bytes in chunks that are not zero. On
// an error call Abort. Errors: Invalid (LENGTH_MISMATCH) when another number of bytes was appended, Precondition
// (manifest.ReasonGone) when the content was forgotten, Unavailable (ReasonDisk), Exhausted (ReasonFull).
func (w *Writer) Commit(ctx context.Context, length int64) (root manifest.Digest, dataBytes int64, err error) {
	a, c := w.a, w.c
	w.finishSync()
	a.mu.Lock()
	m := &manifest.Manifest{Length: c.bytes, Chunks: c.digests}
	err = c.cause
	a.mu.Unlock()
	switch {
	case err != nil:
		return root, 0, err
	case ctx.Err() != nil:
		return root, 0, context.Cause(ctx)
	case length < 1 || length != m.Length:
		return root, 0, fault.New(fault.Invalid, "LENGTH_MISMATCH", "the source should have sent %d bytes and sent %d", length, m.Length)
	}
	if err := w.syncFailure(); err != nil {
		return root, 0, err
	}
	var like likeness
	if w.sketched == dataChunks(m.Chunks) { // else the content was adopted
		like = likeness{sketch: &w.sketch, stored: !c.transient && a.writeSketch(c, &w.sketch), used: a.o.Now()}
	}
	if c.transient {
		root = m.Root(frame.Sum)
	} else if root, err = w.writeManifest(m); err != nil {
		if diskFull(err) {
			return root, 0, fault.Wrap(err, fault.Exhausted, ReasonFull, "the disk of the staging area is full")
		}
		return root, 0, diskFault(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c.writing = false
	if c.state != growing {
		// Forgotten while the manifest was written: nobody else removes the directory of a content that is written.
		a.forgetFiles(c)
		return root, 0, c.cause
	}
	c.state, c.like = complete, like
	c.end = &manifest.End{Length: m.Length, Root: root}
	c.changed()
	c.demand.wake()
	a.checkWanted(c)
	return root, m.DataBytes(), nil
}

// writeManifest makes the content durable. The order matters: frames (synced before), their names, the manifest's bytes,
// its name, the content's name. A manifest on disk thus means that all of the content was there.
func (w *Writer) writeManifest(m *manifest.Manifest) (root manifest.Digest, err error) {
	c, disk := w.c, w.a.disk
	if err := disk.Sync(filepath.Join(c.dir, framesDir)); err != nil {
		return root, err
	}
	err = writeFile(c.manifestPath(), true, func(f io.Writer) error {
		b := bufio.NewWriter(f)
		var err error
		root, err = manifest.Write(b, m, frame.Sum)
		return errors.Join(err, b.Flush())
	})
	if err == nil {
		err = errors.Join(disk.Sync(c.dir), disk.Sync(filepath.Dir(c.dir)))
	}
	return root, err
}

// Abort gives the content up because its source failed, removes its frames and tells its readers. reason is shown to
// users. It blocks while files are removed. After a successful Commit, or a first Abort, it does nothing.
func (w *Writer) Abort(reason string) {
	a, c := w.a, w.c
	w.finishSync()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.writing {
		return
	}
	c.writing = false
	if c.state == growing {
		a.lose(c, fault.New(fault.Precondition, manifest.ReasonGone, "the source of the content failed: %s", reason))
	}
	a.forgetFiles(c)
}
