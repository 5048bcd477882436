package outside

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	partBytes  = 64 << 10
	largeParts = 8 * partBytes // from here on several connections are used
)

// parts is a server that sends parts of data, and does with some of them what tests choose.
type parts struct {
	data []byte
	etag string
	deny bool // it says that it sends no parts
	// odd answers the part that begins at an offset in another way, when it returns true. Parts are counted from 0.
	odd func(w http.ResponseWriter, r *http.Request, part int, from, last int) bool

	whole  atomic.Int64 // requests for everything
	asked  atomic.Int64 // requests for parts
	mu     sync.Mutex
	ranges []string
	unsafe []string // ranges without a condition
}

func (s *parts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if s.etag != "" {
		h.Set("Etag", s.etag)
	}
	if s.deny {
		h.Set("Accept-Ranges", "none")
	}
	text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok {
		s.whole.Add(1)
		s.full(w)
		return
	}
	s.mu.Lock()
	s.ranges = append(s.ranges, text)
	if r.Header.Get("If-Range") != s.etag {
		s.unsafe = append(s.unsafe, text)
	}
	s.mu.Unlock()
	first, end, _ := strings.Cut(text, "-")
	from, _ := strconv.Atoi(first)
	last := len(s.data) - 1
	if end != "" {
		last, _ = strconv.Atoi(end)
	}
	if s.odd == nil || !s.odd(w, r, int(s.asked.Add(1))-1, from, last) {
		s.part(w, from, last)
	}
}

func (s *parts) full(w http.ResponseWriter) {
	w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
	_, _ = w.Write(s.data)
}

func (s *parts) part(w http.ResponseWriter, from, last int) {
	s.head(w, from, last, len(s.data))
	_, _ = w.Write(s.data[from : last+1])
}

func (s *parts) head(w http.ResponseWriter, from, last, size int) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, last, size))
	w.Header().Set("Content-Length", strconv.Itoa(last-from+1))
	w.WriteHeader(http.StatusPartialContent)
}

// some of a part comes, then the connection breaks.
func (s *parts) some(w http.ResponseWriter, from, last, n int) {
	s.head(w, from, last, len(s.data))
	_, _ = w.Write(s.data[from : from+n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// partsClient returns a client that uses several connections for little data.
func partsClient(t testing.TB, set ...func(*Options)) *Client {
	t.Helper()
	return newClient(t, append([]func(*Options){func(o *Options) { o.segment, o.large = partBytes, largeParts }}, set...)...)
}
