package importer

import (
	"context"
	"crypto/sha512"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/convert/qcow2"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/inspect"
)

// Converter reads disk formats for which the hub has no reader of its own. It is *qemu.Converter.
type Converter interface {
	// Check returns NO_CONVERTER when there is none here.
	Check() error
	// Convert writes the disk of virtual bytes that the size bytes of src describe to sink. All of src has come and was checked.
	Convert(ctx context.Context, format string, src convert.Source, size, virtual int64, sink convert.Sink) error
}

// conversion makes a raw disk of data in another format. One goroutine takes the data in; another one reads the disk in it,
// for qcow2 while it comes, for the other formats when all of it has been found to be right.
type conversion struct {
	*flow
	from  image.ID      // content that holds the data
	begun chan struct{} // closed when its beginning has come and is right
	whole chan struct{} // closed when all data has come and is right
	// Known when whole is closed.
	size, virtual int64
}

// convert stores the disk that the data describes.
func (f *flow) convert(body io.Reader) (catalog.Arrived, error) {
	c := &conversion{flow: f, from: f.s.incoming, begun: make(chan struct{}), whole: make(chan struct{})}
	keep := func([]byte) error { return nil }
	commit := func() error { return nil }
	if f.s.staged != "" && f.packed == "" {
		c.from = f.s.staged // all of it is there; it is looked at once more while it is converted
	} else {
		w, err := f.im.Area.CreateTransient(c.from)
		if err != nil {
			return catalog.Arrived{}, err
		}
		defer f.im.Area.Forget(c.from)
		defer w.Abort("the import has ended")
		keep = func(p []byte) error { return w.Append(f.ctx, p) }
		commit = func() error {
			_, _, err := w.Commit(f.ctx, c.size)
			return err
		}
	}
	if f.s.treat.disk == string(inspect.QCOW2) {
		f.a.enter(PhaseBoth)
	}
	d := f.im.newDisk(f.ctx, f.s.writer, f.a, sha512.New())
	defer d.sums.stop()
	made := make(chan error, 1)
	go func() {
		err := c.make(d)
		if err != nil {
			f.cancel(err)
		}
		made <- err
	}()
	err := c.receive(body, keep, commit)
	if err != nil {
		f.cancel(err)
	}
	if other := <-made; err == nil {
		err = other
	}
	if cause := context.Cause(f.ctx); cause != nil { // what came first has ended the other one
		err = cause
	}
	if err != nil {
		return catalog.Arrived{}, err
	}
	return c.result(d)
}

// result completes the content of a disk that is whole.
func (c *conversion) result(d *disk) (catalog.Arrived, error) {
	content, err := d.content(c.s, d.length)
	if err != nil {
		return catalog.Arrived{}, err
	}
	return c.describe(catalog.Arrived{Content: content, DiskFormat: string(inspect.Raw), Origin: c.origin()}), nil
}

// receive takes all data in, checks it and closes whole.
func (c *conversion) receive(body io.Reader, keep func([]byte) error, commit func() error) (err error) {
	defer c.recovered(&err)
	s := startSums(c.hashes(nil)...)
	defer s.stop()
	for last, begun := false, false; !last; {
		var n int
		var err error
		buf := s.buffer()
		if n, last, err = c.next(body, buf); err != nil {
			return err
		}
		if c.size += int64(n); n > 0 {
			if err := c.hold(); err != nil {
				return err
			}
			s.add(buf[:n])
			if err := keep(buf[:n]); err != nil {
				return err
			}
		}
		if !begun {
			begun = true
			close(c.begun)
		}
	}
	s.stop()
	if c.virtual, err = c.finish(c.size); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	c.a.enter(PhaseConverting)
	close(c.whole)
	return nil
}

// hold returns STAGING_FULL as soon as it is certain that the data cannot be kept.
func (c *conversion) hold() error {
	if c.from == c.s.staged {
		return nil
	}
	return c.im.Area.CheckTransient(c.size)
}

// make writes the disk.
func (c *conversion) make(d *disk) (err error) {
	defer c.recovered(&err)
	ready := c.whole
	if c.s.treat.disk == string(inspect.QCOW2) {
		ready = c.begun
	}
	select {
	case <-ready:
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	give, err := c.im.converting.Take(c.ctx, c.a.project)
	if err != nil {
		return err
	}
	defer give()
	src := c.im.Area.Reader(c.ctx, c.from)
	defer func() { _ = src.Close() }()
	if c.s.treat.disk == string(inspect.QCOW2) {
		err = c.makeQCOW2(d, src)
	} else {
		err = c.makeOther(d, src)
	}
	if err == nil {
		err = d.flush(true)
	}
	return err
}

// makeQCOW2 reads the disk while its data comes.
func (c *conversion) makeQCOW2(d *disk, src *staging.Reader) error {
	img, err := qcow2.Open(src, c.im.largest())
	if err != nil {
		return err
	}
	if err := c.sized(d, img.Size()); err != nil {
		return err
	}
	return img.WriteTo(c.ctx, d)
}

func (c *conversion) makeOther(d *disk, src *staging.Reader) error {
	if err := c.sized(d, c.virtual); err != nil {
		return err
	}
	return c.im.Converter.Convert(c.ctx, c.s.treat.disk, src, c.size, c.virtual, d)
}

// sized notes the size of the disk, and checks now whether it may be as large as that.
func (c *conversion) sized(d *disk, size int64) error {
	switch {
	case size > c.im.largest():
		return tooLarge(c.im.largest())
	case size == 0:
		return fault.New(fault.Invalid, ReasonEmpty, "the disk in the image is empty")
	}
	if err := c.im.admitDisk(c.a, size); err != nil {
		return err
	}
	d.size = size
	c.a.diskTotal.Store(size)
	if err := c.im.Catalog.SetSizeHint(c.ctx, c.s.op, size); err != nil {
		c.im.Log.Debug("size not recorded", "operation", string(c.s.op), "error", err)
	}
	return nil
}
