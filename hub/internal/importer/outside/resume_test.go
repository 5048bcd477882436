package outside

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func random(n int, seed byte) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(out)
	return out
}

// source is a server whose answers go wrong in the way tests choose.
type source struct {
	data    []byte
	etag    string
	changed time.Time
	ranges  bool
	long    int                               // bytes announced beyond the data
	chunked bool                              // the size is not told
	stop    func(answer, sent int) (stop int) // sent: bytes until the data ends; what of them comes before the connection breaks
	before  func(answer int, s *source)       // changes it before an answer
	hang    bool                              // silence instead of a break
	mu      sync.Mutex
	asked   []string // Range of each request
	guards  []string // If-Range
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer := len(s.asked)
	s.asked = append(s.asked, r.Header.Get("Range"))
	s.guards = append(s.guards, r.Header.Get("If-Range"))
	if s.before != nil {
		s.before(answer, s)
	}
	data, from, h := s.data, 0, w.Header()
	s.mu.Unlock()
	if s.etag != "" {
		h.Set("Etag", s.etag)
	}
	if !s.changed.IsZero() {
		h.Set("Last-Modified", s.changed.UTC().Format(http.TimeFormat))
	}
	h.Set("Content-Type", "application/octet-stream")
	status, announced := http.StatusOK, len(data)+s.long
	if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && s.ranges {
		if guard := r.Header.Get("If-Range"); guard == s.etag || guard == h.Get("Last-Modified") {
			from, _ = strconv.Atoi(strings.TrimSuffix(text, "-"))
			if from >= len(data) {
				h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(data)))
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			status = http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, announced-1, announced))
		}
	}
	if !s.chunked {
		h.Set("Content-Length", strconv.Itoa(announced-from))
	}
	w.WriteHeader(status)
	n := len(data) - from
	if s.stop != nil {
		n = min(n, s.stop(answer, n))
	}
	_, _ = w.Write(data[from : from+n])
	_ = http.NewResponseController(w).Flush()
	switch {
	case s.hang && n < len(data)-from:
		<-r.Context().Done()
	case n < len(data)-from || s.long > 0:
		panic(http.ErrAbortHandler)
	}
}

// always breaks off after so many bytes.
func always(n int) func(int, int) int { return func(int, int) int { return n } }

// times breaks off after n bytes in the first answers.
func times(answers, n int) func(int, int) int {
	return func(answer, left int) int {
		if answer < answers {
			return n
		}
		return left
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	long := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	data := random(8<<20+7, 1)
	for name, c := range map[string]struct {
		s      *source
		reason string // empty: the data comes
		asked  int    // requests; 0: whatever
		ranged bool   // all requests but the first ask for the rest only
	}{
		"nothing happens":        {s: &source{}, asked: 1},
		"size not told":          {s: &source{chunked: true}, asked: 1},
		"by ETag":                {s: &source{etag: `"v1"`, ranges: true, stop: times(4, 1<<20)}, asked: 5, ranged: true},
		"by time":                {s: &source{changed: long, ranges: true, stop: times(2, 2<<20)}, asked: 3, ranged: true},
		"by ETag, size not told": {s: &source{etag: `"v1"`, ranges: true, chunked: true, stop: times(2, 1<<20)}, asked: 3, ranged: true},
		"more breaks than are allowed": {
			s:      &source{etag: `"v1"`, ranges: true, stop: times(maxBreaks+3, progress)},
			asked:  maxBreaks + 4,
			ranged: true,
		},
		"no ranges":                    {s: &source{etag: `"v1"`, stop: times(2, 3<<20)}, asked: 3},
		"nothing to guard with":        {s: &source{ranges: true, stop: times(2, 3<<20)}, asked: 3},
		"a weak ETag guards nothing":   {s: &source{etag: `W/"v1"`, ranges: true, stop: times(1, 3<<20)}, asked: 2},
		"changed a moment ago":         {s: &source{changed: time.Now(), ranges: true, stop: times(1, 3<<20)}, asked: 2},
		"broken before the first byte": {s: &source{etag: `"v1"`, ranges: true, stop: times(2, 0)}, asked: 3},
		"silence":                      {s: &source{etag: `"v1"`, ranges: true, stop: times(1, 1<<20), hang: true}, asked: 2, ranged: true},
		"new ETag": {
			s: &source{
				etag: `"v1"`, ranges: true, stop: times(1, 1<<20),
				before: on(1, func(s *source) { s.etag = `"v2"` }),
			},
			reason: ReasonChanged,
			asked:  2,
		},
		"new time": {
			s: &source{
				changed: long, ranges: true, stop: times(1, 1<<20),
				before: on(1, func(s *source) { s.changed = long.Add(time.Hour) }),
			},
			reason: ReasonChanged,
			asked:  2,
		},
		"other bytes behind": {
			s: &source{
				stop:   times(1, 1<<20),
				before: on(1, func(s *source) { s.data = append(append([]byte(nil), data[:4<<20]...), data[:4<<20+7]...) }),
			},
			asked: 2,
		},
		"other bytes before": {
			s: &source{
				stop:   times(1, 1<<20),
				before: on(1, func(s *source) { s.data = random(8<<20+7, 2) }),
			},
			reason: ReasonChanged,
			asked:  2,
		},
		"longer now": {
			s: &source{
				stop:   times(1, 1<<20),
				before: on(1, func(s *source) { s.data = append(slices.Clip(data), 1) }),
			},
			reason: ReasonChanged,
			asked:  2,
		},
		"shorter now": {
			s: &source{
				chunked: true, stop: times(1, 1<<20),
				before: on(1, func(s *source) { s.data = data[:100] }),
			},
			reason: ReasonChanged,
			asked:  2,
		},
		"cut where it broke": {
			s: &source{
				etag: `"v1"`, ranges: true, stop: times(1, 1<<20),
				before: on(1, func(s *source) { s.data = data[:1<<20] }),
			},
			reason: "SIZE_MISMATCH",
			asked:  2,
		},
		"cut before it broke": {
			s: &source{
				etag: `"v1"`, ranges: true, stop: times(1, 1<<20),
				before: on(1, func(s *source) { s.data = data[:100] }),
			},
			reason: ReasonChanged,
			asked:  2,
		},
		"announced too much":       {s: &source{etag: `"v1"`, ranges: true, long: 1}, reason: "SIZE_MISMATCH"},
		"always at the same place": {s: &source{etag: `"v1"`, ranges: true, stop: times(100, 0)}, reason: ReasonLost, asked: 1 + maxBreaks},
		"a drop at a time": {
			s:      &source{etag: `"v1"`, ranges: true, stop: always(100)},
			reason: ReasonLost,
			asked:  1 + maxBreaks,
			ranged: true,
		},
		"all again and again": {s: &source{stop: always(4 << 20)}, reason: ReasonLost, asked: 1 + maxBreaks},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.s.data = data
			web := serve(t, "127.0.0.1", c.s.ServeHTTP)
			client := newClient(t, func(o *Options) {
				if c.s.hang {
					o.Stall = 2 * time.Second
				}
			})
			got, err := get(t, client, Request{URI: web.URL})
			switch {
			case c.reason != "":
				wantReason(t, name, err, c.reason)
				if fault.Retryable(err) {
					t.Errorf("%v asks to be tried again", err)
				}
			case err != nil || name != "other bytes behind" && !bytes.Equal(got, data):
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			more := c.s.hang && len(c.s.asked) > c.asked // for the test, a busy machine that is silent is such a source too
			if c.asked != 0 && len(c.s.asked) != c.asked && !more {
				t.Errorf("asked %d times: %v", len(c.s.asked), c.s.asked)
			}
			for i, text := range c.s.asked[1:] {
				if c.ranged && (text == "" || c.s.guards[i+1] == "") || !c.ranged && c.s.etag == "" && c.s.changed.IsZero() && text != "" {
					t.Errorf("request %d asks for %q if it is %q", i+1, text, c.s.guards[i+1])
				}
			}
		})
	}
}

// on does something before one answer.
func on(answer int, f func(*source)) func(int, *source) {
	return func(n int, s *source) {
		if n == answer {
			f(s)
		}
	}
}

// What comes from one of several mirrors goes on there, because another one may have other data. Where that is refused, as
// addresses that end are, the way there is asked again.
func TestResumeAtTheSameMirror(t *testing.T) {
	t.Parallel()
	data := random(1<<20, 4)
	for name, c := range map[string]struct {
		ends          bool   // the first mirror does not answer twice
		second        string // ETag of the second one
		reason        string
		first, others int // requests
	}{
		"goes on":           {false, `"b"`, "", 2, 0},
		"ends, same data":   {true, `"a"`, "", 2, 1},
		"ends, others data": {true, `"b"`, ReasonChanged, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := &source{data: data, etag: `"a"`, ranges: true, stop: times(1, 1000)}
			two := &source{data: data, etag: c.second, ranges: true}
			mirror := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" && c.ends {
					one.asked = append(one.asked, "refused")
					w.WriteHeader(http.StatusForbidden)
					return
				}
				one.ServeHTTP(w, r)
			})
			other := serve(t, "127.0.0.1", two.ServeHTTP)
			var led atomic.Int64
			web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, []string{mirror.URL, other.URL}[min(led.Add(1)-1, 1)], http.StatusFound)
			})
			got, err := get(t, newClient(t), Request{URI: web.URL, Follow: true})
			if c.reason != "" {
				wantReason(t, name, err, c.reason)
			} else if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if len(one.asked) != c.first || len(two.asked) != c.others {
				t.Errorf("asked %v and %v", one.asked, two.asked)
			}
		})
	}
}

// A source that sends something else than what was asked for is read from the beginning.
func TestWrongRange(t *testing.T) {
	t.Parallel()
	data := random(1<<20, 3)
	wrong := []string{"bytes 999-1048575/1048576", "", "items 1-2/3", "bytes x-/y"}
	var asked, ranges atomic.Int64
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		switch n := asked.Add(1); {
		case n%3 == 1:
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data[:1000])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case r.Header.Get("Range") != "":
			w.Header().Set("Content-Range", wrong[ranges.Add(1)%4])
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[999:])
		default:
			_, _ = w.Write(data)
		}
	})
	for range 4 { // each has another wrong range
		if got, err := get(t, newClient(t), Request{URI: web.URL}); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
}

// Answers that are no image.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var unsteady atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!DOCTYPE html><title>Please log in</title>"))
	})
	mux.HandleFunc("/xhtml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xhtml+xml; charset=utf-8")
		_, _ = w.Write([]byte("<html/>"))
	})
	mux.Handle("/dir/", http.StripPrefix("/dir/", http.FileServer(http.Dir(t.TempDir()))))
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/part", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/unsteady", func(w http.ResponseWriter, _ *http.Request) {
		if unsteady.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("data"))
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeader)) })
	web := serve(t, "127.0.0.1", mux.ServeHTTP)
	c, soon := newClient(t), newClient(t, func(o *Options) { o.Header = 500 * time.Millisecond })
	for path, reason := range map[string]string{
		"/page": ReasonNotData, "/xhtml": ReasonNotData, "/dir/": ReasonNotData, "/empty": "INVALID_FIELD", "/none": "INVALID_FIELD", "/part": "INVALID_FIELD",
		"/missing": "INVALID_FIELD", "/broken": "SOURCE_REFUSED", "/silent": ReasonUnreachable, "/huge": ReasonUnreachable,
	} {
		client := c
		if path == "/silent" {
			client = soon
		}
		_, err := get(t, client, Request{URI: web.URL + path})
		wantReason(t, path, err, reason)
	}
	c.options.Connect = time.Minute // the third attempt has to begin in this time
	if data, err := get(t, c, Request{URI: web.URL + "/unsteady"}); err != nil || string(data) != "data" {
		t.Errorf("got %q, %v", data, err)
	}
}

// A source that sends a little every now and then is given up, although it is never silent.
func TestPace(t *testing.T) {
	t.Parallel()
	b := &Body{waited: paceWindow, came: paceBytes - 1}
	wantReason(t, "too slow", b.checkPace(), ReasonSlow)
	b = &Body{waited: paceWindow, came: paceBytes}
	if err := b.checkPace(); err != nil || b.waited != 0 || b.came != 0 {
		t.Errorf("fast enough: %v, %v, %d", err, b.waited, b.came)
	}
	if b = (&Body{waited: paceWindow - 1}); b.checkPace() != nil {
		t.Error("judged too soon")
	}
}
