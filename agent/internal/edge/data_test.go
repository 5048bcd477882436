package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// testRanges compares ranges of an image, asked for over HTTP, with its bytes.
func testRanges(t *testing.T, s *edgeSite, data []byte) {
	t.Helper()
	const chunk = 4 << 20
	size := len(data)
	ranges := [][2]int{
		{0, 0}, {0, size - 1}, {size - 1, size - 1}, {chunk - 1, chunk}, {chunk, 2*chunk - 1}, {chunk - 1, 2 * chunk}, {1, size - 2},
	}
	for range 30 {
		from := rand.IntN(size)
		ranges = append(ranges, [2]int{from, from + rand.IntN(size-from)})
	}
	for _, r := range ranges {
		a := s.get(path1+"/file", "Range", fmt.Sprintf("bytes=%d-%d", r[0], r[1]))
		want := data[r[0] : r[1]+1]
		if a.code != 206 || !a.here() || a.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", r[0], r[1], size) {
			t.Fatalf("range %v: %d %v", r, a.code, a.header)
		}
		if !bytes.Equal([]byte(a.body), want) {
			t.Fatalf("range %v: got %d other bytes, sha256 %x, want %x", r, len(a.body), sha256.Sum256([]byte(a.body)), sha256.Sum256(want))
		}
	}
	if a := s.get(path1 + "/file"); a.code != 200 || a.body != string(data) || a.header.Get("Content-Length") != fmt.Sprint(size) {
		t.Errorf("whole: %d, %d bytes", a.code, len(a.body))
	}
	if a := s.get(path1+"/file", "Range", "bytes=-5"); a.code != 206 || a.body != string(data[size-5:]) {
		t.Errorf("the last 5 bytes: %d, %q", a.code, a.body)
	}
	if a := s.get(path1+"/file", "Range", fmt.Sprintf("bytes=%d-", size)); a.code != 416 {
		t.Errorf("past the end: %d", a.code)
	}
}

func TestRangesOfAFile(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	data := random(9<<20 + 12345)
	clear(data[1<<20 : 7<<20])
	s.hold(img1, data)
	testRanges(t, s, data)
}

// opened is an image of n random bytes and what reads it.
func opened(t *testing.T, n int) (*edgeSite, *data, *imageapi.Image, []byte) {
	t.Helper()
	s := newEdgeSite(t, nil)
	b := random(n)
	s.hold(img1, b)
	return s, newData(map[image.StoreID]rbd.Pool{st0: s.pool}, hclog.NewNullLogger()), s.cat.Image(img1), b
}

// A client that leaves stops the reads, wherever they are, and gives its place back.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	s, d, img, _ := opened(t, 20<<20)
	gate := s.pool.Block(rbdtest.OpReadAt)
	defer gate.Release()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := d.Open(ctx, img, nil, 0, img.Size)
	if err != nil {
		t.Fatal(err)
	}
	<-gate.Entered()
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if d.slots.Taken() != 0 {
		t.Error("the place is still taken")
	}
}

// Closing in the middle waits for the reads that are under way and begins no more.
func TestCloseInTheMiddle(t *testing.T) {
	t.Parallel()
	s, d, img, b := opened(t, 40<<20)
	r, err := d.Open(t.Context(), img, nil, 100, img.Size-100)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5000)
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, b[100:5100]) {
		t.Errorf("the beginning differs, or %v", err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := s.pool.Calls(rbdtest.OpReadAt); n > window || d.slots.Taken() != 0 {
		t.Errorf("%d reads, %d places taken", n, d.slots.Taken())
	}
}

// A read that fails in the middle ends the data there; it is never shorter without an error.
func TestReadFails(t *testing.T) {
	t.Parallel()
	s, d, img, b := opened(t, 20<<20)
	s.pool.Pass(rbdtest.OpReadAt, 2)
	s.pool.Fail(rbdtest.OpReadAt, 1, fault.Wrap(io.EOF, fault.Unavailable, "STORE_UNREACHABLE", "away"))
	r, err := d.Open(t.Context(), img, nil, 0, img.Size)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if fault.ReasonOf(err) != "STORE_UNREACHABLE" || len(got) >= len(b) || !bytes.Equal(got, b[:len(got)]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, again := r.Read(got[:1]); again == nil {
		t.Error("it goes on after an error")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	s.pool.Fail(rbdtest.OpReadAt, window, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "away"))
	if a := s.get(path1 + "/file"); a.code != 503 {
		t.Errorf("a failure at once: %d", a.code)
	}
	s.pool.Clear()
	s.pool.Pass(rbdtest.OpReadAt, 4)
	s.pool.Fail(rbdtest.OpReadAt, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "away"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path1+"/file", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if part, err := io.ReadAll(resp.Body); err == nil || len(part) >= len(b) {
		t.Errorf("the client got %d bytes and %v", len(part), err)
	}
}

// What is not the image's content is not read.
func TestWrongCopies(t *testing.T) {
	t.Parallel()
	s, d, img, _ := opened(t, 5000)
	for name, change := range map[string]func(*imageapi.Image){
		"another content": func(i *imageapi.Image) { i.ContentID = img3 },
		"another length":  func(i *imageapi.Image) { i.Size = 4999 },
		"no such image":   func(i *imageapi.Image) { i.ID = img2 },
		"no copy here":    func(i *imageapi.Image) { i.Stores = nil },
		"foreign store":   func(i *imageapi.Image) { i.Stores = []string{"elsewhere"} },
	} {
		wrong := &imageapi.Image{ID: img.ID, ContentID: img.ContentID, Size: img.Size, Stores: img.Stores}
		change(wrong)
		if _, err := d.Open(t.Context(), wrong, nil, 0, wrong.Size); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, part := range [][2]int64{{-1, 1}, {0, 5001}, {5001, 0}, {4000, 1 << 62}, {0, -1}} {
		if _, err := d.Open(t.Context(), img, nil, part[0], part[1]); err == nil {
			t.Errorf("range %v is read", part)
		}
	}
	if d.slots.Taken() != 0 || s.pool.Calls(rbdtest.OpReadAt) != 0 {
		t.Error("places are taken, or something was read")
	}
	r, err := d.Open(t.Context(), img, nil, 5000, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The copy that Nova makes of an instance's disk has inherited the marks of the image that the instance came from.
func TestCopyWithInheritedMarks(t *testing.T) {
	t.Parallel()
	s, d, img, b := opened(t, 5000)
	copied, err := s.pool.Open(t.Context(), string(img1))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(copied.SetMeta(t.Context(), metaContent, string(img3)), copied.SetMeta(t.Context(), metaImage, string(img2)), copied.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(t.Context(), img, nil, 0, img.Size)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Downloads beyond the limit wait for a place, for a while.
func TestDownloadsAreLimited(t *testing.T) {
	t.Parallel()
	_, d, img, _ := opened(t, 1000)
	var readers []io.Closer
	open := func(project string) error {
		r, err := d.Open(auth.With(t.Context(), &auth.Caller{ProjectID: project}), img, nil, 0, img.Size)
		if err == nil {
			readers = append(readers, r)
		}
		return err
	}
	for range share {
		if err := open("slow"); err != nil {
			t.Fatal(err)
		}
	}
	d.wait = time.Millisecond
	if err := open("slow"); fault.ReasonOf(err) != "TOO_MANY_DOWNLOADS" {
		t.Errorf("one more than a project's share: %v", err)
	}
	for range downloads - share {
		if err := open("other"); err != nil {
			t.Errorf("another project: %v", err)
		}
	}
	if _, err := d.Open(t.Context(), img, nil, 0, 1); fault.ReasonOf(err) != "TOO_MANY_DOWNLOADS" {
		t.Errorf("one too many: %v", err)
	}
	d.wait = time.Minute
	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := d.Open(t.Context(), img, nil, 0, 1)
		if err != nil {
			t.Errorf("after a wait: %v", err)
			return
		}
		_ = r.Close()
	})
	for _, r := range readers {
		_ = r.Close()
	}
	wg.Wait()
	if d.slots.Taken() != 0 {
		t.Error("places are still taken")
	}
}

func TestOrderOfStores(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ stores, prefer, want []string }{
		{[]string{"a", "b", "c"}, nil, []string{"a", "b", "c"}},
		{[]string{"a", "b", "c"}, []string{"c"}, []string{"c", "a", "b"}},
		{[]string{"a", "b", "c"}, []string{"x", "c", "b"}, []string{"c", "b", "a"}},
	} {
		if got := order(c.stores, c.prefer); !slices.Equal(got, c.want) {
			t.Errorf("%v preferring %v: %v, want %v", c.stores, c.prefer, got, c.want)
		}
	}
	s := newEdgeSite(t, nil)
	b := random(100)
	s.hold(img1, b)
	for _, prefer := range []string{"dcn0", "central", "central,dcn0", ""} {
		if a := s.get(path1 + "/file?prefer=" + prefer); a.code != 200 || a.body != string(b) {
			t.Errorf("prefer %q: %d %s", prefer, a.code, a.body)
		}
	}
}
