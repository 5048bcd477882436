package importer

import (
	"context"
	"crypto/sha512"
	"hash"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer/unpack"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// flow is the way of the data of one import from its source into its content.
type flow struct {
	im     *Importer
	ctx    context.Context
	cancel context.CancelCauseFunc // ends everything, reads of the source too
	s      source
	a      *arrival
	in     *intake
	look   *inspection
	claims []claim            // checked when all has come
	packed unpack.Compression // what the data is unpacked from
	signed *storev1.Signature // once it has been verified
}

// ingest reads a source to its end into the staging area and returns what is known of the content then. Data that is not
// what it should be, or not safe, ends it before the content is complete. cancel is that of ctx.
func (im *Importer) ingest(ctx context.Context, cancel context.CancelCauseFunc, s source, a *arrival) (catalog.Arrived, error) {
	f := &flow{im: im, ctx: ctx, cancel: cancel, s: s, a: a, look: im.inspection(a.image, s.treat)}
	f.in = &intake{from: s.open(ctx), a: a, most: im.largest()}
	if s.treat.convert {
		f.in.most += f.in.most/64 + 1<<20 // what a format adds to a disk
	}
	body, head, all := peeking(f.in)
	f.claims = f.claimed()
	if f.packed = s.treat.compression(head); f.packed == unpack.None {
		return f.deliver(body, head, all)
	}
	if s.stage { // it is looked at when it is unpacked
		f.look.bare, f.look.disk, f.packed = false, "", unpack.None
		return f.store(body)
	}
	// What was read to look at it has been counted and is hashed here; the rest when it is read.
	for _, c := range f.claims {
		_, _ = c.hash.Write(head)
	}
	f.in.sums = f.claims
	unpacked, err := unpack.New(ctx, f.packed, body, im.largest())
	if err != nil {
		return catalog.Arrived{}, err
	}
	// The unpacker waits for its last read of the source, which ends with ctx, or when the source is interrupted.
	defer func() { _ = unpacked.Close() }()
	disk, head, all := peeking(unpacked)
	arrived, err := f.deliver(disk, head, all)
	if err != nil {
		cancel(err)
	}
	return arrived, err
}

// deliver stores the data, or the disk in it. head are its first bytes; all: there are no more.
func (f *flow) deliver(body io.Reader, head []byte, all bool) (_ catalog.Arrived, err error) {
	defer f.recovered(&err)
	if f.s.treat.converts(head, all) {
		return f.convert(body)
	}
	return f.store(body)
}

// store stores the data as it comes, or as it was unpacked.
func (f *flow) store(body io.Reader) (catalog.Arrived, error) {
	own := sha512.New()
	d := f.im.newDisk(f.ctx, f.s.writer, f.a, own, f.hashes(own)...)
	defer d.sums.stop()
	for last := false; !last; {
		var n int
		var err error
		if n, last, err = f.next(body, d.buffer()); err != nil {
			return catalog.Arrived{}, err
		}
		if err := d.chunk(n, last); err != nil {
			return catalog.Arrived{}, err
		}
	}
	d.sums.stop()
	virtual, err := f.finish(d.length)
	if err != nil {
		return catalog.Arrived{}, err
	}
	content, err := d.content(f.s, virtual)
	if err != nil {
		return catalog.Arrived{}, err
	}
	arrived := catalog.Arrived{Content: content}
	if f.packed != unpack.None {
		arrived.Origin = f.origin()
	}
	return f.describe(arrived), nil
}

// next reads the next chunk into buf and looks at it. Data that has to be refused is an error.
func (f *flow) next(body io.Reader, buf []byte) (n int, last bool, err error) {
	n, last, err = fill(body, buf)
	if f.ctx.Err() != nil { // nobody wants the rest any more
		return n, last, context.Cause(f.ctx)
	}
	if err == nil && n > 0 {
		err = f.look.add(buf[:n])
	}
	return n, last, err
}

// hashes returns the hashes of the claims that see what is stored, which is the data as it comes; those of data that is
// unpacked see it before that. own, if not nil, is a SHA-512 that sees it anyway.
func (f *flow) hashes(own hash.Hash) []hash.Hash {
	if f.packed != unpack.None {
		return nil
	}
	var out []hash.Hash
	for i := range f.claims {
		if c := &f.claims[i]; own != nil && c.algorithm == "sha512" {
			c.hash = own
		} else {
			out = append(out, c.hash)
		}
	}
	return out
}

// finish checks all that is known only at the end of the data, and returns the size of the disk in it. length is that of
// the data when it was unpacked.
func (f *flow) finish(length int64) (virtual int64, err error) {
	if err := verify(f.claims); err != nil {
		return 0, err
	}
	return f.look.finish(length)
}

// origin says how the data came.
func (f *flow) origin() *storev1.Origin {
	return &storev1.Origin{
		DiskFormat: f.s.treat.disk, ContainerFormat: "bare", Compression: string(f.packed), SizeBytes: f.in.n,
	}
}
