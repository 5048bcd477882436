package outside

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// What is long comes in parts, each asked for once and on condition, the first bytes over the connection that is there already.
func TestParts(t *testing.T) {
	t.Parallel()
	s := &parts{data: random(20*partBytes+77, 1), etag: `"a"`}
	together := make(chan struct{}) // closed when three parts have been asked for; none is answered before
	s.odd = func(_ http.ResponseWriter, r *http.Request, part, _, _ int) bool {
		if part == 2 {
			close(together)
		}
		select {
		case <-together:
		case <-r.Context().Done():
		}
		return false
	}
	got, err := get(t, partsClient(t), Request{URI: serve(t, "127.0.0.1", s.ServeHTTP).URL})
	if err != nil || !bytes.Equal(got, s.data) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	var want []string
	for at := partBytes; at < len(s.data); at += partBytes {
		want = append(want, strconv.Itoa(at)+"-"+strconv.Itoa(min(at+partBytes, len(s.data))-1))
	}
	slices.Sort(want)
	slices.Sort(s.ranges)
	if s.whole.Load() != 1 || !slices.Equal(s.ranges, want) || len(s.unsafe) > 0 {
		t.Errorf("asked for everything %d times, for %v, without condition for %v", s.whole.Load(), s.ranges, s.unsafe)
	}
}

// Where parts are of no use or cannot be had, everything comes in one.
func TestNoParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		s       *parts
		size    int
		request Options
	}{
		"no ranges":          {s: &parts{etag: `"a"`, deny: true}},
		"nothing to compare": {s: &parts{}},
		"weak":               {s: &parts{etag: `W/"a"`}},
		"short":              {s: &parts{etag: `"a"`}, size: largeParts - 1},
		"one connection":     {s: &parts{etag: `"a"`}, request: Options{Connections: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.s.data = random(max(c.size, largeParts-1), 2)
			if c.size == 0 {
				c.s.data = random(2*largeParts, 2)
			}
			client := partsClient(t, func(o *Options) { o.Connections = c.request.Connections })
			got, err := get(t, client, Request{URI: serve(t, "127.0.0.1", c.s.ServeHTTP).URL})
			if err != nil || !bytes.Equal(got, c.s.data) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if c.s.whole.Load() != 1 || len(c.s.ranges) > 0 {
				t.Errorf("asked for everything %d times, for %v", c.s.whole.Load(), c.s.ranges)
			}
		})
	}
	if _, err := New(Options{Connections: maxConnections + 1}); fault.ReasonOf(err) != "INVALID_FIELD" {
		t.Errorf("too many connections: %v", err)
	}
}

// Servers whose parts are not what was asked for. The data comes all the same, or it is refused; it is never another.
func TestOddParts(t *testing.T) {
	t.Parallel()
	const silence = time.Second // of a source that is to be given up for it; the others have more, as a busy machine is silent too
	for name, c := range map[string]struct {
		odd    func(s *parts, w http.ResponseWriter, r *http.Request, part, from, last int) bool
		reason string
		whole  int64 // requests for everything; 0: whatever
		stall  time.Duration
	}{
		"each breaks once": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
			if from%partBytes == 0 && last > from+1000 {
				s.some(w, from, last, 1000)
			}
			return false
		}, whole: 1},
		"the third breaks at once": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, part, from, last int) bool {
			if part == 2 {
				s.some(w, from, last, 0)
			}
			return false
		}, whole: 1},
		"all are everything": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, _, _ int) bool {
			s.full(w)
			return true
		}, whole: 1},
		"everything from the middle on": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, part, _, _ int) bool {
			if part >= 6 {
				s.full(w)
			}
			return part >= 6
		}},
		"all are refused": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, _, _, _ int) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}, whole: 1},
		"some are refused": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, part, _, _ int) bool {
			if part == 2 || part == 3 {
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return part == 2 || part == 3
		}, whole: 1},
		"refused in the middle for a while": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, part, _, _ int) bool {
			if part > 4 && part < 9 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return part > 4 && part < 9
		}, whole: 1},
		"bytes before": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
			s.part(w, from-1, last-1)
			return true
		}, whole: 1},
		"overlapping": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
			s.part(w, from-1000, last)
			return true
		}, whole: 1},
		"bytes behind": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
			s.part(w, from, min(last+1, len(s.data)-1))
			return true
		}},
		"less than was asked for": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
			s.part(w, from, min(last, from+30000))
			return true
		}, whole: 1},
		"no range": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, _, _, _ int) bool {
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, whole: 1},
		"a length that is not that of the range": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(last)+"/"+strconv.Itoa(len(s.data)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(s.data[from : from+1000])
			return true
		}, whole: 1},
		"without end": {odd: func(s *parts, w http.ResponseWriter, r *http.Request, _, from, last int) bool {
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(last)+"/"+strconv.Itoa(len(s.data)))
			w.WriteHeader(http.StatusPartialContent)
			_, err := w.Write(s.data[from : last+1])
			for err == nil && r.Context().Err() == nil {
				_, err = w.Write(s.data[:partBytes])
			}
			return true
		}, whole: 1},
		"one is silent": {odd: func(s *parts, w http.ResponseWriter, r *http.Request, part, from, last int) bool {
			if part == 5 {
				s.head(w, from, last, len(s.data))
				_, _ = w.Write(s.data[from : from+10])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
			return part == 5
		}, whole: 1, stall: silence},
		"one drips": {odd: func(s *parts, w http.ResponseWriter, r *http.Request, part, from, last int) bool {
			if part == 5 {
				s.head(w, from, last, len(s.data))
				drip(w, r, s.data[from:last+1], silence/20)
			}
			return part == 5
		}, whole: 1, stall: silence},
		"another ETag": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, part, _, _ int) bool {
			if part == 6 {
				w.Header().Set("Etag", `"b"`)
			}
			return false
		}, reason: ReasonChanged, whole: 1},
		"another server with another ETag": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, _, _, _ int) bool {
			w.Header().Set("Etag", `"b"`)
			return false
		}, whole: 1},
		"everything, with another ETag": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, part, _, _ int) bool {
			if part == 6 {
				w.Header().Set("Etag", `"b"`)
				s.full(w)
			}
			return part == 6
		}, reason: ReasonChanged, whole: 1},
		"another size": {odd: func(s *parts, w http.ResponseWriter, _ *http.Request, part, from, last int) bool {
			if part == 6 {
				s.head(w, from, last, len(s.data)+1)
				_, _ = w.Write(s.data[from : last+1])
			}
			return part == 6
		}, reason: ReasonChanged, whole: 1},
		"shorter than announced": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, _, from, _ int) bool {
			if from >= 12*partBytes {
				w.Header().Set("Content-Range", "bytes */"+strconv.Itoa(12*partBytes))
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			}
			return from >= 12*partBytes
		}, reason: ReasonChanged, whole: 1},
		"gone in the middle": {odd: func(_ *parts, w http.ResponseWriter, _ *http.Request, part, _, _ int) bool {
			if part >= 6 {
				w.WriteHeader(http.StatusNotFound)
			}
			return part >= 6
		}, reason: "INVALID_FIELD", whole: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &parts{data: random(20*partBytes+77, 3), etag: `"a"`}
			s.odd = func(w http.ResponseWriter, r *http.Request, part, from, last int) bool {
				return c.odd(s, w, r, part, from, last)
			}
			client := partsClient(t, func(o *Options) { o.Stall = c.stall })
			got, err := get(t, client, Request{URI: serve(t, "127.0.0.1", s.ServeHTTP).URL})
			switch {
			case c.reason != "":
				wantReason(t, name, err, c.reason)
			case err != nil || !bytes.Equal(got, s.data):
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if whole := s.whole.Load(); c.whole > 0 && whole != c.whole || len(s.unsafe) > 0 {
				t.Errorf("asked for everything %d times, without condition for %v", whole, s.unsafe)
			}
		})
	}
}

// drip sends a byte every now and then until the other end goes.
func drip(w http.ResponseWriter, r *http.Request, data []byte, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range data {
		_, _ = w.Write(data[i : i+1])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// A reader that stops makes the connections stop: no more is fetched than there is memory for.
func TestPartsWaitForTheReader(t *testing.T) {
	t.Parallel()
	const connections = 3
	s := &parts{data: random(64*partBytes, 4), etag: `"a"`}
	full := make(chan struct{}, 64)
	s.odd = func(w http.ResponseWriter, _ *http.Request, _, from, last int) bool {
		s.part(w, from, last)
		full <- struct{}{}
		return true
	}
	web := serve(t, "127.0.0.1", s.ServeHTTP)
	b, err := partsClient(t, func(o *Options) { o.Connections = connections }).Open(t.Context(), Request{URI: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if _, err := io.ReadFull(b, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	for range connections + 1 {
		await(t, full, "all that there is memory for is sent")
	}
	if n := len(b.ahead.queue); n != connections+1 || len(b.ahead.free) != 0 || b.ahead.spare != 0 {
		t.Errorf("%d segments, %d buffers more", n, len(b.ahead.free)+b.ahead.spare)
	}
	// The workers have nothing to do now. One more comes for each that is read.
	buf := make([]byte, partBytes)
	if _, err := io.ReadFull(b, buf[10:]); err != nil {
		t.Fatal(err)
	}
	if len(full) != 0 {
		t.Error("more was fetched without room")
	}
	if _, err := io.ReadFull(b, buf); err != nil {
		t.Fatal(err)
	}
	await(t, full, "one more part is sent")
	if n := s.asked.Load(); n != connections+2 {
		t.Errorf("%d parts were asked for", n)
	}
}

// Whoever closes the data or cancels ends all connections; goleak looks for what is left.
func TestPartsEnd(t *testing.T) {
	t.Parallel()
	for _, cancelled := range []bool{true, false} {
		reached := make(chan struct{}, 64) // more than there are parts
		s := &parts{data: random(64*partBytes, 5), etag: `"a"`}
		s.odd = func(w http.ResponseWriter, r *http.Request, _, from, last int) bool {
			s.head(w, from, last, len(s.data))
			_, _ = w.Write(s.data[from : from+10])
			_ = http.NewResponseController(w).Flush()
			reached <- struct{}{}
			<-r.Context().Done()
			return true
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		web := serve(t, "127.0.0.1", s.ServeHTTP)
		b, err := partsClient(t).Open(ctx, Request{URI: web.URL})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(b, make([]byte, partBytes+5)); err != nil {
			t.Fatal(err)
		}
		for range 4 { // the first connection has been replaced
			await(t, reached, "all connections are waiting")
		}
		if cancelled {
			cancel(errTest)
			if _, err := io.ReadAll(b); !errors.Is(err, errTest) {
				t.Errorf("cancelled: got %v", err)
			}
		}
		_ = b.Close()
		web.Close() // blocks until all answers have ended
		if n, err := b.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("closed: read %d, %v", n, err)
		}
		cancel(nil)
	}
}

// Row 23: all connections go to the address of the first one, whatever the name stands for by now: other servers may have other
// data, or be inside.
func TestRow23Parts(t *testing.T) {
	t.Parallel()
	s := &parts{data: random(20*partBytes, 6), etag: `"a"`}
	web, l := serveBeside(t, s.ServeHTTP)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(web.URL, "http://"))
	var inside atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			inside.Add(1)
			_ = conn.Close()
		}
	}()
	client := partsClient(t, func(o *Options) {
		o.Resolver = newZone(t, func(string, int64) string {
			if s.whole.Load() == 0 {
				return "127.0.0.1"
			}
			return "127.0.0.2"
		})
	})
	got, err := get(t, client, Request{URI: "http://rebind.test:" + port + "/", Follow: true})
	if err != nil || !bytes.Equal(got, s.data) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if inside.Load() > 0 || len(s.ranges) == 0 {
		t.Errorf("the inside has seen %d connections, the source was asked for %v", inside.Load(), s.ranges)
	}
}

// Parts come from the mirror that the beginning came from; where that is refused, the way there is asked again.
func TestPartsOfAMirror(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		s := &parts{data: random(20*partBytes, 7), etag: `"a"`}
		if ends {
			s.odd = func(w http.ResponseWriter, r *http.Request, part, _, _ int) bool {
				old := part >= 4 && r.URL.RawQuery == "sign=1"
				if old {
					w.WriteHeader(http.StatusForbidden)
				}
				return old
			}
		}
		mirror := serve(t, "127.0.0.1", s.ServeHTTP)
		var led atomic.Int64
		web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, mirror.URL+"/?sign="+strconv.FormatInt(led.Add(1), 10), http.StatusFound)
		})
		got, err := get(t, partsClient(t), Request{URI: web.URL, Follow: true})
		if err != nil || !bytes.Equal(got, s.data) {
			t.Fatalf("ends %v: got %d bytes, %v", ends, len(got), err)
		}
		if n := led.Load(); s.whole.Load() != 1 || !ends && n != 1 || ends && (n < 2 || n > 5) {
			t.Errorf("ends %v: the way was asked for %d times, everything %d times", ends, n, s.whole.Load())
		}
		if slices.ContainsFunc(s.ranges, func(r string) bool { return strings.HasSuffix(r, "-") }) {
			t.Errorf("ends %v: one connection had to do: %v", ends, s.ranges)
		}
	}
}
