package importer

import (
	"context"
	"crypto/md5"
	"hash"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// disk cuts what an image will hold into chunks and hashes it. It is a convert.Sink. It is used by one goroutine.
type disk struct {
	im     *Importer
	ctx    context.Context
	w      *staging.Writer
	a      *arrival
	sums   *sums
	buf    []byte
	used   int   // bytes of buf
	length int64 // bytes of the chunks that were stored
	holes  int64 // of these, bytes in runs of zero chunks
	size   int64 // what the length has to be in the end; -1: not known
}

// newDisk returns an empty disk; the caller stops its sums. own is a SHA-512; extra are hashes that see all bytes too.
func (im *Importer) newDisk(ctx context.Context, w *staging.Writer, a *arrival, own hash.Hash, extra ...hash.Hash) *disk {
	return &disk{im: im, ctx: ctx, w: w, a: a, size: -1, sums: startSums(append([]hash.Hash{md5.New(), own}, extra...)...)}
}

// buffer returns the buffer for the next chunk.
func (d *disk) buffer() []byte {
	d.buf = d.sums.buffer()
	return d.buf
}

// Write takes the next bytes.
func (d *disk) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if d.used == 0 {
			d.buffer()
		}
		m := copy(d.buf[d.used:], p[n:])
		d.used += m
		n += m
		if d.used == manifest.ChunkSize {
			if err := d.flush(false); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Zero takes n zeroes. Whole chunks of them cost next to nothing.
func (d *disk) Zero(n int64) error {
	for n > 0 {
		if d.used == 0 && n >= manifest.ChunkSize {
			chunks := n / manifest.ChunkSize
			if err := d.skip(chunks * manifest.ChunkSize); err != nil {
				return err
			}
			n -= chunks * manifest.ChunkSize
			continue
		}
		if d.used == 0 {
			d.buffer()
		}
		m := int(min(n, int64(manifest.ChunkSize-d.used)))
		clear(d.buf[d.used : d.used+m])
		d.used += m
		n -= int64(m)
		if d.used == manifest.ChunkSize {
			if err := d.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// skip stores whole chunks of zeroes of together n bytes.
func (d *disk) skip(n int64) error {
	if err := d.grow(n, false); err != nil {
		return err
	}
	if d.holes += n; d.holes > d.im.Holes {
		d.sums.drop()
	}
	d.sums.addZeroes(n)
	return d.w.AppendZeroes(int(n / manifest.ChunkSize))
}

// chunk stores the first n bytes of the latest buffer of sums; fewer than a whole chunk when it is the last one.
func (d *disk) chunk(n int, last bool) error {
	if err := d.grow(int64(n), last); err != nil || n == 0 {
		return err
	}
	d.sums.add(d.buf[:n])
	return d.w.Append(d.ctx, d.buf[:n])
}

// flush stores what has been gathered of a chunk.
func (d *disk) flush(last bool) error {
	n := d.used
	d.used = 0
	return d.chunk(n, last)
}

// grow checks whether n more bytes may come.
func (d *disk) grow(n int64, last bool) error {
	if err := d.ctx.Err(); err != nil { // nobody wants the rest any more
		return context.Cause(d.ctx)
	}
	d.length += n
	if d.size >= 0 && (d.length > d.size || last && d.length < d.size) {
		return fault.New(fault.Invalid, convert.ReasonDamaged, "the disk has %d bytes according to its header, and %d or more in fact", d.size, d.length)
	}
	return d.im.checkQuota(d.a, d.length, last)
}

// content completes the content and returns what is known of it.
func (d *disk) content(s source, virtual int64) (*storev1.Content, error) {
	digests := d.sums.finish()
	root, data, err := d.w.Commit(d.ctx, d.length)
	if err != nil {
		return nil, err
	}
	return &storev1.Content{
		Id: string(s.content), Complete: true, SizeBytes: d.length, ManifestDigest: root[:],
		Md5: digests[0], Sha512: digests[1], DataBytes: data, VirtualSizeBytes: virtual,
	}, nil
}
