package importer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestMain(m *testing.M) {
	if code, mine := sandbox.Main(); mine {
		os.Exit(code) //nolint:forbidigo // the main of the process in the sandbox
	}
	goleak.VerifyTestMain(m)
}

// bench is a catalog with a central store and a real staging area.
type bench struct {
	t       *testing.T
	catalog *catalog.Catalog
	area    *staging.Area
	records *catalogtest.Records // of the catalog, where a test changes them
}

func newBench(t *testing.T) *bench {
	t.Helper()
	area, err := staging.Open(staging.Options{Dir: t.TempDir(), Limit: 2 * staging.MinLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = area.Close() })
	records := catalogtest.New()
	b := &bench{t: t, records: records, catalog: catalog.New(records, "central", catalog.DefaultLimits(), time.Now), area: area}
	if err := b.catalog.RegisterStore(t.Context(), "central", &agentv1.StoreStatus{StoreId: "central"}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) importer() *Importer {
	web := fetcher(b.t, outside.Options{Operator: true, Connect: 10 * time.Second}) // a busy machine may be late
	return New(Config{Catalog: b.catalog, Outside: web, Area: b.area, MaxSize: 10 << 20, Log: hclog.NewNullLogger()})
}

// fetcher returns a client that gives up soon unless told otherwise.
func fetcher(t *testing.T, o outside.Options) *outside.Client {
	t.Helper()
	o.Connect = cmp.Or(o.Connect, time.Second)
	c, err := outside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// request returns a request to import into a new image.
func (b *bench) request() catalog.Import {
	b.t.Helper()
	img, err := b.catalog.CreateImage(b.t.Context(), catalog.NewImage{DiskFormat: "raw", ContainerFormat: "bare"})
	if err != nil {
		b.t.Fatal(err)
	}
	return catalog.Import{Image: image.ID(img.Id), Target: catalog.Target{All: true}}
}

// run runs an importer until the test ends.
func (b *bench) run(im *Importer) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = im.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done })
}

// settled waits until the data of an operation is there or given up.
func (b *bench) settled(id string) *storev1.Operation {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Minute)
	defer cancel()
	sub := b.catalog.Subscribe()
	defer sub.Close()
	for {
		o, _ := b.catalog.Read().Operation(image.ID(id))
		if !catalog.Importing(o) {
			return o
		}
		select {
		case <-sub.C():
			sub.Take()
		case <-ctx.Done():
			b.t.Fatalf("still importing: %v", o)
		}
	}
}

// wantData checks what is recorded and staged of an image against its bytes.
func (b *bench) wantData(id image.ID, data []byte) {
	b.t.Helper()
	img, _ := b.catalog.Read().Image(id)
	m, s := md5.Sum(data), sha512.Sum512(data)
	c := img.Content
	if !c.Complete || c.SizeBytes != int64(len(data)) || c.Md5 != hex.EncodeToString(m[:]) || c.Sha512 != hex.EncodeToString(s[:]) {
		b.t.Fatalf("got %v", c)
	}
	var got []byte
	buf := make([]byte, manifest.ChunkSize)
	for i := range manifest.Count(c.SizeBytes) {
		chunk, err := b.area.ReadChunk(b.t.Context(), image.ID(c.Id), i, buf)
		if err != nil {
			b.t.Fatal(err)
		}
		got = append(got, chunk...)
	}
	if !bytes.Equal(got, data) {
		b.t.Fatal("other bytes are staged")
	}
}

// wantNothing checks that no content is left that a site could read.
func (b *bench) wantNothing() {
	b.t.Helper()
	for _, c := range b.area.Contents() {
		if !c.Gone {
			b.t.Fatalf("left: %+v", c)
		}
	}
}

func random(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

// feed returns data in messages of an odd size, then end.
func feed(data []byte, end error) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(data) == 0 {
			return nil, end
		}
		n := min(999_983, len(data))
		var part []byte
		part, data = data[:n], data[n:]
		return part, nil
	}
}

func wantReason(t *testing.T, err error, class fault.Class, reason string) {
	t.Helper()
	if !fault.Is(err, class) || fault.ReasonOf(err) != reason {
		t.Fatalf("got %v (%s), want %s %s", err, fault.ReasonOf(err), class, reason)
	}
}

func TestUploadSums(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 4<<20 - 1, 4 << 20, 4<<20 + 1, 9 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			in, data := b.request(), random(size)
			in.SizeBytes = int64(size)
			op, err := b.importer().Upload(t.Context(), in, feed(data, io.EOF))
			if err != nil || !op.Source.Complete {
				t.Fatalf("got %v, %v", op, err)
			}
			b.wantData(in.Image, data)
		})
	}
}

func TestUploadFails(t *testing.T) {
	t.Parallel()
	broken := fault.New(fault.Unavailable, "CALLER_LOST", "the caller is gone")
	for name, c := range map[string]struct {
		announced int64
		bytes     int
		end       error
		class     fault.Class
		reason    string
	}{
		"too short":  {100, 99, io.EOF, fault.Invalid, "SIZE_MISMATCH"},
		"too long":   {100, 101, io.EOF, fault.Invalid, "SIZE_MISMATCH"},
		"empty":      {0, 0, io.EOF, fault.Invalid, "EMPTY_IMAGE"},
		"too large":  {0, 10<<20 + 1, io.EOF, fault.Exhausted, "IMAGE_TOO_LARGE"},
		"broken off": {0, 5 << 20, broken, fault.Unavailable, "CALLER_LOST"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			in := b.request()
			in.SizeBytes = c.announced
			_, err := b.importer().Upload(t.Context(), in, feed(random(c.bytes), c.end))
			wantReason(t, err, c.class, c.reason)
			o := b.catalog.Read().Operations()[0]
			if o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED || o.Error.GetReason() != c.reason {
				t.Fatalf("got %v", o)
			}
			b.wantNothing()
		})
	}
}

func TestUploadRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.request()
	in.Target = catalog.Target{Stores: []string{"nowhere"}}
	_, err := b.importer().Upload(t.Context(), in, feed(random(1), io.EOF))
	wantReason(t, err, fault.Invalid, "INVALID_FIELD")
	if n := len(b.area.Contents()) + len(b.catalog.Read().Operations()); n != 0 {
		t.Fatalf("%d things are left", n)
	}
}

func TestUploadCancelled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.request()
	im := b.importer()
	im.MaxSize = 1 << 40 // zeroes take no space, and it may be long until the importer sees the end
	first := true
	_, err := im.Upload(t.Context(), in, func() ([]byte, error) {
		if first {
			first = false
			if err := b.catalog.Cancel(t.Context(), image.ID(b.catalog.Read().Operations()[0].Id)); err != nil {
				t.Error(err)
			}
		}
		return make([]byte, 1<<20), nil // would go on up to the limit
	})
	wantReason(t, err, fault.Cancelled, "IMPORT_CANCELLED")
	if o := b.catalog.Read().Operations()[0]; o.Undoing != storev1.OperationState_OPERATION_STATE_CANCELLED {
		t.Fatalf("got %v", o)
	}
	b.wantNothing()
}

func TestFetch(t *testing.T) {
	t.Parallel()
	data := random(5 << 20)
	mux := http.NewServeMux()
	mux.HandleFunc("/image", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)+1))
		_, _ = w.Write(data)
	})
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/ftp", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "ftp://x/", http.StatusFound) })
	mux.HandleFunc("/hop/{n}", func(w http.ResponseWriter, r *http.Request) {
		to := "/image"
		if n := r.PathValue("n")[1:]; n != "" {
			to = "/hop/" + n
		}
		http.Redirect(w, r, to, http.StatusFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b := newBench(t)
	im := b.importer()
	b.run(im)
	for _, path := range []string{"/image", "/hop/xxxxx"} {
		in := b.request()
		in.URI = server.URL + path
		op, err := im.Fetch(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if o := b.settled(op.Id); !o.Source.Complete {
			t.Fatalf("%s: got %v", path, o)
		}
		b.wantData(in.Image, data)
	}
	in := b.request()
	soon := b.importer() // gives up soon
	soon.Outside = fetcher(t, outside.Options{Operator: true})
	for uri, reason := range map[string]string{
		"": "INVALID_FIELD", "file:///etc/passwd": "INVALID_FIELD", "http:///x": "INVALID_FIELD",
		server.URL + "/missing": "INVALID_FIELD", server.URL + "/empty": "INVALID_FIELD",
		server.URL + "/hop/xxxxxx": "SOURCE_UNREACHABLE", server.URL + "/ftp": "SOURCE_UNREACHABLE", "http://127.0.0.1:1/": "SOURCE_UNREACHABLE",
	} {
		in.URI = uri
		fetch := im.Fetch
		if reason == "SOURCE_UNREACHABLE" {
			fetch = soon.Fetch
		}
		if _, err := fetch(t.Context(), in); fault.ReasonOf(err) != reason {
			t.Errorf("%q: got %v, want %s", uri, err, reason)
		}
	}
	if img, _ := b.catalog.Read().Image(in.Image); img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED {
		t.Errorf("a refused fetch left the image %s", img.Status)
	}
	in.URI = server.URL + "/cut"
	op, err := im.Fetch(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if o := b.settled(op.Id); o.Source.Complete || o.Error.GetReason() != "SOURCE_LOST" {
		t.Fatalf("a download that was cut: %v", o)
	}
}

// A new life of the hub goes on with fetches and undoes uploads.
func TestRestart(t *testing.T) {
	t.Parallel()
	data := random(1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	t.Cleanup(server.Close)
	b := newBench(t)
	fetch, upload := b.request(), b.request()
	fetch.URI, fetch.Content, upload.Content = server.URL, image.NewID(), image.NewID()
	fetched, err := b.catalog.BeginImport(t.Context(), fetch)
	if err != nil {
		t.Fatal(err)
	}
	uploaded, err := b.catalog.BeginImport(t.Context(), upload)
	if err != nil {
		t.Fatal(err)
	}
	b.run(b.importer())
	if o := b.settled(fetched.Id); !o.Source.Complete || o.Source.ContentId == string(fetch.Content) {
		t.Fatalf("the fetch: %v", o)
	}
	b.wantData(fetch.Image, data)
	if o := b.settled(uploaded.Id); o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED || o.Error.GetReason() != "UPLOAD_INTERRUPTED" {
		t.Fatalf("the upload: %v", o)
	}
}
