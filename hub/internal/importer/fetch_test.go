package importer

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// breaking serves data over connections that break after two MiB.
func breaking(t *testing.T, data []byte) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
			w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		}
		n := min(len(data)-from, 2<<20)
		_, _ = w.Write(data[from : from+n])
		if from+n < len(data) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(web.Close)
	return web.URL
}

func checksums(data []byte) (short, long image.Checksum) {
	s, l := sha256.Sum256(data), sha512.Sum512(data)
	return image.Checksum{Algorithm: "sha256", Digest: hex.EncodeToString(s[:])}, image.Checksum{Algorithm: "sha512", Digest: hex.EncodeToString(l[:])}
}

// Row 46: what the request says of the data is compared before anything of it is complete, also when connections break.
func TestRow46Checksum(t *testing.T) {
	t.Parallel()
	data := random(7<<20 + 3)
	uri := breaking(t, data)
	b := newBench(t)
	im := b.importer()
	b.run(im)
	short, long := checksums(data)
	for _, sum := range []image.Checksum{short, long} {
		in := b.request()
		in.URI, in.Checksum = uri, sum
		op, err := im.Fetch(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if o := b.settled(op.Id); !o.Source.Complete {
			t.Fatalf("%s: %v", sum.Algorithm, o)
		}
		b.wantData(in.Image, data)
	}
}

// Row 46.
func TestRow46WrongChecksumLeavesNothing(t *testing.T) {
	t.Parallel()
	data := random(5 << 20)
	b := newBench(t)
	im := b.importer()
	b.run(im)
	short, long := checksums(data[1:])
	uri := breaking(t, data)
	for _, sum := range []image.Checksum{short, long} {
		in := b.request()
		in.URI, in.Checksum = uri, sum
		op, err := im.Enqueue(t.Context(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := b.settled(op.Id)
		if o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED || o.Error.GetReason() != "CHECKSUM_MISMATCH" || !strings.Contains(o.Error.Message, sum.Digest) {
			t.Fatalf("got %v", o)
		}
		if img, _ := b.catalog.Read().Image(in.Image); img.Content.GetComplete() || img.Content.GetManifestDigest() != nil {
			t.Fatalf("got %v", img)
		}
	}
	b.wantNothing()
}

// Row 6: what a URL has of secrets is used and not kept, neither in the records nor in the log. A hub that has forgotten it
// says so.
func TestSecretsOfURLsAreNotKept(t *testing.T) {
	t.Parallel()
	data := random(1000)
	var asked atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if user, password, _ := r.BasicAuth(); user != "wallace" || password != "hunter2" || r.URL.RawQuery != "sig=s3cret" {
			http.Error(w, "who is there?", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(web.Close)
	var log strings.Builder
	b := newBench(t)
	im := b.importer()
	im.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	host := strings.TrimPrefix(web.URL, "http://")
	good, bad, forgotten := b.request(), b.request(), b.request()
	good.URI = "http://wallace:hunter2@" + host + "/image?sig=s3cret#hunter2"
	bad.URI = "http://wallace:hunter2@127.0.0.1:1/image?sig=s3cret"
	forgotten.URI = good.URI
	var ops []*storev1.Operation
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = im.Run(ctx) }()
	op, err := im.Fetch(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	ops = append(ops, b.settled(op.Id))
	if op, err = im.Enqueue(t.Context(), bad, nil); err != nil {
		t.Fatal(err)
	}
	ops = append(ops, b.settled(op.Id))
	cancel()
	<-done
	if !ops[0].Source.Complete || ops[0].Source.Uri != web.URL+"/image" || ops[1].Error.GetReason() != outside.ReasonUnreachable {
		t.Fatalf("got %v", ops)
	}
	b.wantData(good.Image, data)
	if op, err = im.Enqueue(t.Context(), forgotten, nil); err != nil { // and is never run
		t.Fatal(err)
	}
	before := asked.Load()
	b.run(b.importer())
	o := b.settled(op.Id)
	if o.Error.GetReason() != "IMPORT_INTERRUPTED" || asked.Load() != before {
		t.Fatalf("got %v", o)
	}
	text := log.String() + fmt.Sprint(append(ops, o), b.catalog.Read().Images())
	for _, secret := range []string{"hunter2", "s3cret", "wallace"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is kept: %s", secret, text)
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
}

// Rows 23 to 25: both ways to begin a fetch ask the filter, and so does the fetch itself.
func TestFetchAsksTheFilter(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan error, 1)
	go func() { _, err := l.Accept(); connected <- err }()
	b := newBench(t)
	im := b.importer()
	im.Outside = fetcher(t, outside.Options{AllowPorts: []string{"1-65535"}})
	b.run(im)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "0x7f000001", "2130706433", "0177.1", "127.1", "[::ffff:127.0.0.1]", "169.254.169.254"} {
		in := b.request()
		in.URI = "http://" + host + ":" + port + "/"
		_, err := im.Fetch(t.Context(), in)
		wantReason(t, err, fault.Invalid, "INVALID_FIELD")
		_, err = im.Enqueue(t.Context(), in, nil)
		wantReason(t, err, fault.Invalid, "INVALID_FIELD")
	}
	in := b.request()
	in.URI = "http://localhost:" + port + "/"
	_, err = im.Fetch(t.Context(), in)
	wantReason(t, err, fault.Precondition, outside.ReasonUnreachable)
	op, err := im.Enqueue(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := b.settled(op.Id); o.Error.GetReason() != outside.ReasonUnreachable {
		t.Fatalf("got %v", o)
	}
	_ = l.Close()
	if <-connected == nil {
		t.Error("somebody has connected")
	}
	b.wantNothing()
}

// Row 8: a source that announces more than an image may have is not read, one that does not announce it is stopped.
func TestRow8FetchIsBounded(t *testing.T) {
	t.Parallel()
	sent := map[string]*atomic.Int64{"/announced": {}, "/endless": {}} // a connection may end after its import
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/announced" {
			w.Header().Set("Content-Length", fmt.Sprint(11<<20))
		}
		for part := make([]byte, 64<<10); ; {
			n, err := w.Write(part)
			if sent[r.URL.Path].Add(int64(n)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(web.Close)
	b := newBench(t)
	im := b.importer()
	b.run(im)
	for path, most := range map[string]int64{"/announced": 9 << 20, "/endless": 40 << 20} {
		in := b.request()
		in.URI = web.URL + path
		op, err := im.Enqueue(t.Context(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o := b.settled(op.Id); o.Error.GetReason() != "IMAGE_TOO_LARGE" || sent[path].Load() > most {
			t.Fatalf("%s: %d bytes, %v", path, sent[path].Load(), o)
		}
	}
	b.wantNothing()
}

// A cancelled fetch ends at once, whatever it is waiting for.
func TestFetchCancelled(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/data" {
			_, _ = w.Write(random(100))
			_ = http.NewResponseController(w).Flush()
		}
		asked <- struct{}{}
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	}))
	t.Cleanup(web.Close)
	b := newBench(t)
	im := b.importer()
	var err error
	if im.Outside, err = outside.New(outside.Options{Operator: true, Connect: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b.run(im)
	for _, path := range []string{"/head", "/data", "/broken"} {
		in := b.request()
		in.URI = web.URL + path
		op, err := im.Enqueue(t.Context(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-asked:
		case <-time.After(time.Minute):
			t.Fatalf("%s is not asked for", path)
		}
		if err := b.catalog.Cancel(t.Context(), image.ID(op.Id)); err != nil {
			t.Fatal(err)
		}
		b.settled(op.Id)
	}
	b.idle(im)
	b.eventuallyEmpty() // a content goes after its import has ended
}

// idle waits until nothing arrives any more.
func (b *bench) idle(im *Importer) {
	b.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		im.mu.Lock()
		n := len(im.incoming)
		im.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("%d imports go on", n)
		}
	}
}
