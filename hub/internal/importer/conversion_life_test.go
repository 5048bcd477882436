package importer

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// cancelling cancels the only operation once so many bytes have been read.
type cancelling struct {
	io.Reader
	b     *bench
	after int
}

func (c *cancelling) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p[:min(len(p), 300_000)])
	if c.after -= n; c.after <= 0 {
		for _, o := range c.b.catalog.Read().Operations() {
			_ = c.b.catalog.Cancel(c.b.t.Context(), image.ID(o.Id)) // again does no harm
		}
	}
	return n, err
}

// Wherever an import is when it is cancelled, nothing is left.
func TestCancelConversion(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(30 << 20)
	qcow := formatted(t, disk, "qcow2", "")
	for name, data := range map[string][]byte{"plain": qcow, "packed": gzipped(t, qcow)} {
		b := newWideBench(t, 128<<20)
		im := b.converting()
		b.run(im)
		for n := range 8 {
			after := 1 + int(rand.Int32N(int32(len(data))))
			op, err := im.Enqueue(t.Context(), b.image("qcow2"), func(context.Context) (Data, error) {
				return Data{ReadCloser: io.NopCloser(&cancelling{bytes.NewReader(data), b, after}), Size: int64(len(data))}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			o := b.settled(op.Id)
			if o.Undoing != storev1.OperationState_OPERATION_STATE_CANCELLED {
				t.Fatalf("%s %d, after %d of %d bytes: got %v", name, n, after, len(data), o)
			}
			b.eventuallyEmpty()
		}
	}
}

// eventuallyEmpty waits until nothing is left of any import.
func (b *bench) eventuallyEmpty() {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 12_000 {
		left := slices.ContainsFunc(b.area.Contents(), func(c staging.Info) bool { return !c.Gone || c.Frames > 0 })
		if used, _ := b.area.Usage(); !left && used == 0 {
			break
		}
		<-tick.C
	}
	b.wantEmpty()
}

// eventuallyLeft waits until n contents are left: what an import needed for itself goes after its record has changed.
func (b *bench) eventuallyLeft(what string, n int) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 12_000 {
		if len(b.area.Contents()) == n {
			return
		}
		<-tick.C
	}
	b.t.Fatalf("%s: %d contents are left, want %d", what, len(b.area.Contents()), n)
}

// Staged data that is converted when the hub stops is converted by its next life; when it is gone, that is the reason.
func TestRestartOfStagedImport(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(9 << 20)
	data := formatted(t, disk, "qcow2", "")
	b := newWideBench(t, 128<<20)
	first := b.converting()
	begin := func() (*storev1.Operation, image.ID) {
		in := b.image("qcow2")
		if _, err := first.StageMessages(t.Context(), in, feed(data, io.EOF)); err != nil {
			t.Fatal(err)
		}
		op, err := first.ImportStaged(t.Context(), catalog.Import{Image: in.Image, Target: in.Target})
		if err != nil {
			t.Fatal(err)
		}
		return op, in.Image
	}
	here, id := begin()
	lost, other := begin()
	img, _ := b.catalog.Read().Image(other)
	b.area.Forget(image.ID(img.Incoming.Id))
	b.run(b.converting()) // first was never run
	if o := b.settled(here.Id); !o.Source.Complete {
		t.Fatalf("got %v", o)
	}
	b.wantData(id, disk)
	if o := b.settled(lost.Id); o.Error.GetReason() != catalog.ReasonStagedLost {
		t.Fatalf("got %v", o)
	}
}

// A failed import of staged data leaves the data where it is.
func TestStagedDataSurvivesItsImport(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(9 << 20)
	data := formatted(t, disk, "qcow2", "")
	b := newWideBench(t, 128<<20)
	im := b.converting(func(c *Config) { c.Signatures = signatures{[]byte("other")} })
	b.run(im)
	in := b.image("qcow2")
	if _, err := im.StageMessages(t.Context(), in, feed(data, io.EOF)); err != nil {
		t.Fatal(err)
	}
	op, err := im.ImportStaged(t.Context(), catalog.Import{Image: in.Image, Target: in.Target})
	if err != nil {
		t.Fatal(err)
	}
	if o := b.settled(op.Id); o.Error.GetReason() != "SIGNATURE_INVALID" {
		t.Fatalf("got %v", o)
	}
	img, _ := b.catalog.Read().Image(in.Image)
	if !img.Incoming.GetComplete() || !b.area.Has(image.ID(img.Incoming.Id)) {
		t.Fatalf("got %v", img)
	}
}

// The quota counts the disk, and is known to be too small as soon as its size is.
func TestQuotaOfConversion(t *testing.T) {
	t.Parallel()
	data := formatted(t, sparseDisk(30<<20), "qcow2", "", "-c")
	b := newWideBench(t, 128<<20)
	limits := b.catalog.Limits()
	limits.ProjectBytes = 20 << 20
	b.catalog = catalog.New(b.records, "central", limits, b.converting().Now)
	im := b.converting()
	_, err := im.Upload(t.Context(), b.image("qcow2"), feed(data, io.EOF))
	wantReason(t, err, fault.Exhausted, "PROJECT_QUOTA")
	b.wantEmpty()
}

// What is kept as it comes is not touched.
func TestKeepFormat(t *testing.T) {
	t.Parallel()
	data := formatted(t, sparseDisk(9<<20), "qcow2", "")
	b := newWideBench(t, 256<<20)
	for name, c := range map[string]struct {
		im   *Importer
		keep bool
	}{
		"asked": {b.converting(), true}, "configured": {b.converting(func(c *Config) { c.Unconverted, c.Packed = true, true }), false},
	} {
		in := b.image("qcow2")
		in.KeepFormat = c.keep
		if _, err := c.im.Upload(t.Context(), in, feed(data, io.EOF)); err != nil {
			t.Fatal(name, err)
		}
		b.wantData(in.Image, data)
		if img, _ := b.catalog.Read().Image(in.Image); img.Origin != nil || img.DiskFormat != "qcow2" || img.Content.VirtualSizeBytes != 9<<20 {
			t.Fatalf("%s: got %v", name, img)
		}
		packed := b.image("raw")
		packed.KeepFormat = c.keep
		small := gzipped(t, make([]byte, manifest.ChunkSize))
		if _, err := c.im.Upload(t.Context(), packed, feed(small, io.EOF)); err != nil {
			t.Fatal(name, err)
		}
		b.wantData(packed.Image, small)
	}
}

// The system on a disk becomes known when nothing is said of it.
func TestDetectedSystem(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(9 << 20)
	b := newWideBench(t, 256<<20)
	im := b.converting(func(c *Config) {
		c.DetectOS = func(_ context.Context, r io.ReaderAt, size int64) (string, string) {
			got := make([]byte, size)
			if n, err := r.ReadAt(got, 0); n != len(disk) || err != nil || !bytes.Equal(got, disk) {
				t.Errorf("the disk cannot be read: %d, %v", n, err)
			}
			return "debian", "12"
		}
	})
	for _, c := range []struct {
		format string
		data   []byte
	}{{"raw", disk}, {"qcow2", formatted(t, disk, "qcow2", "")}} {
		id := uploaded(b, im, c.format, c.data)
		img, _ := b.catalog.Read().Image(id)
		if img.Properties["os_distro"] != "debian" || img.Properties["os_version"] != "12" {
			t.Fatalf("got %v", img)
		}
	}
}
