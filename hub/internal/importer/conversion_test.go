package importer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/convert/qemu"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/hub/internal/trust"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/signature"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// newWideBench is newBench with room for conversions.
func newWideBench(t *testing.T, limit int64) *bench {
	t.Helper()
	area, err := staging.Open(staging.Options{Dir: t.TempDir(), Limit: limit, Patience: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = area.Close() })
	records := catalogtest.New()
	b := &bench{t: t, records: records, catalog: catalog.New(records, "central", catalog.Limits{ImageSize: 2 << 40}, time.Now), area: area}
	if err := b.catalog.RegisterStore(t.Context(), "central", &agentv1.StoreStatus{StoreId: "central"}); err != nil {
		t.Fatal(err)
	}
	return b
}

// converting returns an importer that converts.
func (b *bench) converting(set ...func(*Config)) *Importer {
	c := b.importer().Config
	c.MaxSize = 0
	for _, f := range set {
		f(&c)
	}
	return New(c)
}

// image returns a request to import into a new image of a disk format.
func (b *bench) image(disk string) catalog.Import {
	b.t.Helper()
	img, err := b.catalog.CreateImage(b.t.Context(), catalog.NewImage{DiskFormat: disk, ContainerFormat: "bare"})
	if err != nil {
		b.t.Fatal(err)
	}
	return catalog.Import{Image: image.ID(img.Id), Target: catalog.Target{All: true}}
}

// wantEmpty checks that nothing is left of an import: no content, no bytes and no data in the record.
func (b *bench) wantEmpty() {
	b.t.Helper()
	for _, c := range b.area.Contents() {
		if !c.Gone || c.Bytes > 0 {
			b.t.Errorf("left: %+v", c)
		}
	}
	if used, _ := b.area.Usage(); used != 0 {
		b.t.Errorf("%d bytes are used", used)
	}
}

// qemuImg runs qemu-img; without it the test is skipped, except in CI.
func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("qemu-img is not installed")
		}
		t.Skip("qemu-img is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// sparseDisk returns a disk of size bytes with data, holes and chunks of which only a part has data.
func sparseDisk(size int) []byte {
	disk, noise := make([]byte, size), random(manifest.ChunkSize)
	copy(disk, noise[:1<<20])
	for at := 6 << 20; at < size; at += 5<<20 + 4096 {
		copy(disk[at:], noise[:3<<20])
	}
	copy(disk[size-100:], noise)
	return disk
}

// formatted returns a disk in a format, as qemu-img makes it.
func formatted(t *testing.T, disk []byte, format, options string, more ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	raw, out := filepath.Join(dir, "raw"), filepath.Join(dir, "out")
	if err := os.WriteFile(raw, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"convert", "-f", "raw", "-O", format}, more...)
	if options != "" {
		args = append(args, "-o", options)
	}
	qemuImg(t, append(args, raw, out)...)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func external(t *testing.T) Converter {
	t.Helper()
	c, err := qemu.New(qemu.Options{Memory: 1 << 30, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every format becomes the raw disk that it holds, byte for byte, by every way in.
func TestConversions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, disk, qemu, options string
		more                      []string
		pack                      func(*testing.T, []byte) []byte
		packed                    string
	}{
		{name: "qcow2 v3", disk: "qcow2", qemu: "qcow2"},
		{name: "qcow2 v2", disk: "qcow2", qemu: "qcow2", options: "compat=0.10"},
		{name: "qcow2 compressed", disk: "qcow2", qemu: "qcow2", more: []string{"-c"}},
		{name: "qcow2 zstd", disk: "qcow2", qemu: "qcow2", options: "compression_type=zstd", more: []string{"-c"}},
		{name: "qcow2 extended L2", disk: "qcow2", qemu: "qcow2", options: "extended_l2=on,cluster_size=128k"},
		{name: "qcow2 small clusters", disk: "qcow2", qemu: "qcow2", options: "cluster_size=4k,lazy_refcounts=on"},
		{name: "qcow2 in gzip", disk: "qcow2", qemu: "qcow2", pack: gzipped, packed: "gzip"},
		{name: "vmdk stream", disk: "vmdk", qemu: "vmdk", options: "subformat=streamOptimized"},
		{name: "vmdk sparse", disk: "vmdk", qemu: "vmdk", options: "subformat=monolithicSparse"},
		{name: "vmdk in zstd", disk: "vmdk", qemu: "vmdk", pack: zstandard, packed: "zstd"},
		{name: "vhd dynamic", disk: "vhd", qemu: "vpc", options: "subformat=dynamic,force_size=on"},
		{name: "vhd fixed", disk: "vhd", qemu: "vpc", options: "subformat=fixed,force_size=on"},
		{name: "vhdx", disk: "vhdx", qemu: "vhdx"},
		{name: "vdi", disk: "vdi", qemu: "vdi"},
		{name: "raw in gzip", disk: "raw", qemu: "raw", pack: gzipped, packed: "gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := sparseDisk(21<<20 + 512)
			data := formatted(t, disk, c.qemu, c.options, c.more...)
			if c.pack != nil {
				data = c.pack(t, data)
			}
			b := newWideBench(t, 256<<20)
			im := b.converting(func(c *Config) { c.Converter = external(t) })
			b.run(im)
			for way, take := range map[string]func(*bench, *Importer, string, []byte) image.ID{"upload": uploaded, "fetch": fetched, "staged": stagedThenImported} {
				id := take(b, im, c.disk, data)
				b.wantData(id, disk)
				img, _ := b.catalog.Read().Image(id)
				if img.DiskFormat != "raw" || img.Incoming != nil || img.Content.VirtualSizeBytes != int64(len(disk)) {
					t.Fatalf("%s: got %v", way, img)
				}
				if o := img.Origin; o.GetDiskFormat() != c.disk || o.ContainerFormat != "bare" || o.Compression != c.packed || o.SizeBytes != int64(len(data)) {
					t.Fatalf("%s: came as %v", way, o)
				}
				b.eventuallyLeft(way, 1)
				b.area.Forget(image.ID(img.Content.Id))
			}
		})
	}
}

func uploaded(b *bench, im *Importer, disk string, data []byte) image.ID {
	b.t.Helper()
	in := b.image(disk)
	in.SizeBytes = int64(len(data))
	if _, err := im.Upload(b.t.Context(), in, feed(data, io.EOF)); err != nil {
		b.t.Fatal(err)
	}
	return in.Image
}

func fetched(b *bench, im *Importer, disk string, data []byte) image.ID {
	b.t.Helper()
	in := b.image(disk)
	sum := sha256.Sum256(data)
	in.Checksum = image.Checksum{Algorithm: "sha256", Digest: hex.EncodeToString(sum[:])}
	op, err := im.Enqueue(b.t.Context(), in, func(context.Context) (Data, error) {
		return Data{ReadCloser: io.NopCloser(bytes.NewReader(data)), Size: int64(len(data))}, nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if o := b.settled(op.Id); !o.Source.Complete {
		b.t.Fatalf("got %v", o)
	}
	return in.Image
}

func stagedThenImported(b *bench, im *Importer, disk string, data []byte) image.ID {
	b.t.Helper()
	in := b.image(disk)
	if _, err := im.StageMessages(b.t.Context(), in, feed(data, io.EOF)); err != nil {
		b.t.Fatal(err)
	}
	op, err := im.ImportStaged(b.t.Context(), catalog.Import{Image: in.Image, Target: in.Target})
	if err != nil {
		b.t.Fatal(err)
	}
	if o := b.settled(op.Id); !o.Source.Complete {
		b.t.Fatalf("got %v", o)
	}
	return in.Image
}

// An empty disk of a terabyte does not take the half hour of its digests, which come later, also after a restart.
func TestHashesOfHolesComeLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "empty")
	qemuImg(t, "create", "-q", "-f", "qcow2", path, "1T")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := newWideBench(t, 128<<20)
	before := time.Now()
	id := uploaded(b, b.converting(), "qcow2", data)
	if took := time.Since(before); took > 2*time.Minute {
		t.Errorf("took %s", took)
	}
	if img, _ := b.catalog.Read().Image(id); img.Content.SizeBytes != 1<<40 || img.Content.Md5 != "" || img.Content.DataBytes != 0 {
		t.Fatalf("got %v", img)
	}
	disk := sparseDisk(40 << 20)
	clear(disk[7<<20 : 33<<20])
	sparse := uploaded(b, b.converting(func(c *Config) { c.Holes = 8 << 20 }), "qcow2", formatted(t, disk, "qcow2", ""))
	img, _ := b.catalog.Read().Image(sparse)
	if img.Content.Md5 != "" || img.Content.Sha512 != "" {
		t.Fatalf("got %v", img)
	}
	b.activate(sparse)
	b.run(b.converting())
	b.eventually("the digests are there", func() bool {
		img, _ := b.catalog.Read().Image(sparse)
		return img.Content.Md5 != ""
	})
	b.wantData(sparse, disk)
}

// eventually waits for records to become as they should be.
func (b *bench) eventually(what string, is func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Minute)
	defer cancel()
	sub := b.catalog.Subscribe()
	defer sub.Close()
	for !is() {
		select {
		case <-sub.C():
			sub.Take()
		case <-ctx.Done():
			b.t.Fatalf("timed out: %s", what)
		}
	}
}

// Sites get the disk while its source is still coming.
func TestCutThrough(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(40 << 20)
	data := formatted(t, disk, "qcow2", "")
	b := newWideBench(t, 256<<20)
	im := b.converting()
	b.run(im)
	rest := make(chan struct{})
	let := sync.OnceFunc(func() { close(rest) })
	t.Cleanup(let) // also when the test has failed
	in := b.image("qcow2")
	half := len(data) * 3 / 4
	op, err := im.Enqueue(t.Context(), in, func(context.Context) (Data, error) {
		body := io.MultiReader(bytes.NewReader(data[:half]), closing2{rest}, bytes.NewReader(data[half:]))
		return Data{ReadCloser: io.NopCloser(body), Size: int64(len(data))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("the content is known", func() bool {
		img, _ := b.catalog.Read().Image(in.Image)
		return img.Content.GetId() != "" && img.Content.SizeBytes == int64(len(disk))
	})
	img, _ := b.catalog.Read().Image(in.Image)
	buf := make([]byte, manifest.ChunkSize)
	for i := range 3 {
		chunk, err := b.area.ReadChunk(t.Context(), image.ID(img.Content.Id), i, buf)
		if err != nil || !bytes.Equal(chunk, disk[i*manifest.ChunkSize:(i+1)*manifest.ChunkSize]) {
			t.Fatalf("chunk %d before the source has ended: %v", i, err)
		}
	}
	p := im.Progress(image.ID(op.Id))
	if p.Phase != PhaseBoth || p.Expected != int64(len(data)) || p.DiskTotal != int64(len(disk)) || p.DiskDone < 3*manifest.ChunkSize || p.Received == 0 {
		t.Errorf("got %+v", p)
	}
	let()
	if o := b.settled(op.Id); !o.Source.Complete {
		t.Fatalf("got %v", o)
	}
	b.wantData(in.Image, disk)
}

// closing2 is a reader that ends when the channel is closed.
type closing2 struct{ wait <-chan struct{} }

func (c closing2) Read([]byte) (int, error) {
	<-c.wait
	return 0, io.EOF
}

// signatures is a key of which every image is said to be signed.
type signatures struct{ good []byte }

func (s signatures) Prepare(_ context.Context, _ *auth.Caller, properties map[string]string) (trust.Check, error) {
	if _, err := signature.FromProperties(properties); err != nil {
		return nil, err
	}
	return s, nil
}

func (signatures) NewHash() hash.Hash { return sha256.New() }

func (s signatures) Verify(digest []byte) (*trust.Facts, error) {
	if !bytes.Equal(digest, s.good) {
		return nil, fault.New(fault.Invalid, signature.ReasonInvalid, "the signature does not fit")
	}
	return &trust.Facts{KeyType: "RSA-PSS", Verified: time.Unix(1, 0)}, nil
}

// A signature is over the data as it comes, whatever is made of it.
func TestSigned(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(9 << 20)
	plain := formatted(t, disk, "qcow2", "")
	for name, c := range map[string]struct {
		format string
		data   []byte
	}{
		"raw": {"raw", disk}, "qcow2": {"qcow2", plain}, "packed": {"qcow2", gzipped(t, plain)}, "packed raw": {"raw", zstandard(t, disk)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWideBench(t, 256<<20)
			good := sha256.Sum256(c.data)
			im := b.converting(func(c *Config) { c.Signatures = signatures{good[:]} })
			b.run(im)
			for _, take := range []func(*bench, *Importer, string, []byte) image.ID{uploaded, fetched, stagedThenImported} {
				id := take(b, im, c.format, c.data)
				b.wantData(id, disk)
				img, _ := b.catalog.Read().Image(id)
				if img.Signature.GetKeyType() != "RSA-PSS" {
					t.Fatalf("got %v", img)
				}
				b.area.Forget(image.ID(img.Content.Id))
			}
			if _, err := im.Store(t.Context(), b.image("raw"), whole{bytes.NewReader(disk)}); err != nil && name == "raw" {
				t.Fatal(err)
			}
			im.Signatures = signatures{[]byte("other")}
			_, err := im.Upload(t.Context(), b.image(c.format), feed(c.data, io.EOF))
			wantReason(t, err, fault.Invalid, signature.ReasonInvalid)
			_, err = im.Store(t.Context(), b.image("raw"), whole{bytes.NewReader(disk)})
			wantReason(t, err, fault.Invalid, signature.ReasonInvalid)
			bad, err := b.catalog.CreateImage(t.Context(), catalog.NewImage{
				DiskFormat: c.format, ContainerFormat: "bare", Properties: map[string]string{signature.PropertySignature: "eA=="},
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = im.Upload(t.Context(), catalog.Import{Image: image.ID(bad.Id), Target: catalog.Target{All: true}}, feed(c.data, io.EOF))
			wantReason(t, err, fault.Invalid, signature.ReasonIncomplete)
		})
	}
}

// Whatever is wrong with an import, it says so, and nothing is left.
func TestConversionFails(t *testing.T) {
	t.Parallel()
	disk := sparseDisk(30 << 20)
	good := formatted(t, disk, "qcow2", "")
	vmdk := formatted(t, disk, "vmdk", "")
	wrong := image.Checksum{Algorithm: "sha512", Digest: fmt.Sprintf("%0128d", 0)}
	broken := fault.New(fault.Unavailable, "CALLER_LOST", "the caller is gone")
	for name, c := range map[string]struct {
		disk   string
		data   []byte
		end    error
		set    func(*Config)
		sum    image.Checksum
		limit  int64
		reason string
	}{
		"checksum":          {disk: "qcow2", data: good, sum: wrong, reason: "CHECKSUM_MISMATCH"},
		"checksum, packed":  {disk: "qcow2", data: gzipped(t, good), sum: wrong, reason: "CHECKSUM_MISMATCH"},
		"vmdk, checksum":    {disk: "vmdk", data: vmdk, sum: wrong, reason: "CHECKSUM_MISMATCH"},
		"truncated":         {disk: "qcow2", data: good[:len(good)/2], reason: "IMAGE_DAMAGED"},
		"truncated, packed": {disk: "qcow2", data: gzipped(t, good)[:1<<20], reason: "IMAGE_DAMAGED"},
		"tail, packed":      {disk: "raw", data: append(gzipped(t, disk), 'x'), reason: "IMAGE_DAMAGED"},
		"not a qcow2":       {disk: "qcow2", data: disk, reason: "FORMAT_MISMATCH"},
		"broken off":        {disk: "qcow2", data: good[:5<<20], end: broken, reason: "CALLER_LOST"},
		"packed, broken":    {disk: "raw", data: gzipped(t, disk)[:1<<20], end: broken, reason: "CALLER_LOST"},
		"disk too large":    {disk: "qcow2", data: good, set: func(c *Config) { c.MaxSize = 29 << 20 }, reason: "IMAGE_TOO_LARGE"},
		"unpacked too large": {
			disk: "raw", data: gzipped(t, disk), set: func(c *Config) { c.MaxSize = 29 << 20 }, reason: "IMAGE_TOO_LARGE",
		},
		"staging full": {disk: "qcow2", data: gzipped(t, good), limit: staging.MinLimit, reason: staging.ReasonFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWideBench(t, max(c.limit, 128<<20))
			if c.limit > 0 {
				b = newWideBench(t, c.limit)
			}
			im := b.converting(func(to *Config) {
				to.Converter = external(t)
				if c.set != nil {
					c.set(to)
				}
			})
			in := b.image(c.disk)
			in.Checksum = c.sum
			end := c.end
			if end == nil {
				end = io.EOF
			}
			b.run(im)
			op, err := im.Enqueue(t.Context(), in, func(context.Context) (Data, error) {
				return Data{ReadCloser: io.NopCloser(&messages{ctx: t.Context(), next: told(c.data, end)})}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			o := b.settled(op.Id)
			if o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED || o.Error.GetReason() != c.reason {
				t.Fatalf("got %v", o)
			}
			b.eventuallyEmpty()
		})
	}
}

// told sends data and its end as messages do.
func told(data []byte, end error) <-chan message {
	ch := make(chan message, 2)
	ch <- message{data: data}
	ch <- message{err: end}
	return ch
}

// Formats that need a program are refused before anything begins when it is not there; the others are not.
func TestNoConverter(t *testing.T) {
	t.Parallel()
	b := newWideBench(t, 128<<20)
	missing, err := qemu.New(qemu.Options{Program: "/nowhere/qemu-img", Memory: 1 << 30, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	for _, im := range []*Importer{b.converting(), b.converting(func(c *Config) { c.Converter = missing })} {
		_, err := im.Upload(t.Context(), b.image("vmdk"), feed(random(10), io.EOF))
		wantReason(t, err, fault.Precondition, "NO_CONVERTER")
	}
	if len(b.catalog.Read().Operations()) != 0 {
		t.Error("an operation has begun")
	}
}

// A source that never fits is refused before it is read.
func TestStagingFullAtOnce(t *testing.T) {
	t.Parallel()
	b := newWideBench(t, 64<<20)
	im := b.converting()
	b.run(im)
	in := b.image("qcow2")
	in.SizeBytes = 64 << 20
	_, err := im.Upload(t.Context(), in, func() ([]byte, error) { return nil, errors.New("read") })
	wantReason(t, err, fault.Exhausted, staging.ReasonFull)
	op, err := im.Enqueue(t.Context(), b.image("qcow2"), func(context.Context) (Data, error) {
		return Data{ReadCloser: io.NopCloser(failing{errors.New("read")}), Size: 64 << 20}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if o := b.settled(op.Id); o.Error.GetReason() != staging.ReasonFull {
		t.Fatalf("got %v", o)
	}
	b.eventuallyEmpty()
}

// activate does what the planner does once a site has the image.
func (b *bench) activate(id image.ID) {
	b.t.Helper()
	old, rev := b.records.Image(id)
	img := proto.CloneOf(old)
	img.Status = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
	if err := b.records.Commit(b.t.Context(), catalog.Write{Key: catalog.ImageKey(id), Value: img, Revision: rev}); err != nil {
		b.t.Fatal(err)
	}
}
