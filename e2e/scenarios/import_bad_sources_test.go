package scenarios

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// cut ends an answer without its end.
func cut() { panic(http.ErrAbortHandler) }

// withoutRanges begins again from the first byte when the answer breaks off, and goes on where it was.
func withoutRanges(l *badLab) {
	var asked atomic.Int32
	id := l.everywhere(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.qcow2)))
		if asked.Add(1) <= 2 {
			_, _ = w.Write(l.qcow2[:len(l.qcow2)/2])
			cut()
		}
		_, _ = w.Write(l.qcow2)
	}))
	l.arrived(id, lab.Sites...)
	if asked.Load() < 3 {
		l.T.Errorf("asked %d times", asked.Load())
	}
}

// breaksWithRanges asks for the rest only, also of a source that breaks off again and again.
func breaksWithRanges(l *badLab) {
	var sent atomic.Int64
	id := l.everywhere(l.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(&dripping{ResponseWriter: w, left: 6 << 20, sent: &sent}, r, "disk.qcow2", time.Time{}, bytes.NewReader(l.qcow2))
	}))
	l.arrived(id, "central", "dcn1")
	if most := int64(len(l.qcow2)) * 3 / 2; sent.Load() > most {
		l.T.Errorf("%d bytes were sent for a file of %d", sent.Load(), len(l.qcow2))
	}
}

// dripping is an answer that breaks off after some bytes.
type dripping struct {
	http.ResponseWriter
	left int
	sent *atomic.Int64
}

func (d *dripping) Write(p []byte) (int, error) {
	n, err := d.ResponseWriter.Write(p[:min(len(p), d.left)])
	d.sent.Add(int64(n))
	if d.left -= n; d.left == 0 {
		_ = http.NewResponseController(d.ResponseWriter).Flush()
		cut()
	}
	return n, err
}

// changingETag serves other data when it is asked for the rest: the two halves are never put together.
func changingETag(l *badLab) {
	var asked atomic.Int32
	other := bytes.Repeat([]byte("other"), len(l.qcow2)/5+1)[:len(l.qcow2)]
	l.refused(l.serve(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		data := l.qcow2
		if n > 1 {
			data = other
		}
		w.Header().Set("ETag", fmt.Sprintf(`"version %d"`, min(n, 2)))
		d := &dripping{ResponseWriter: w, left: 8 << 20, sent: new(atomic.Int64)}
		http.ServeContent(d, r, "disk.qcow2", time.Time{}, bytes.NewReader(data))
	}), "changed")
}

// tooLong announces more than there is, and says so when it is asked for the rest.
func tooLong(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Accept-Ranges", "bytes")
		if r.Header.Get("Range") == fmt.Sprintf("bytes=%d-", len(l.qcow2)) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(l.qcow2)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(l.qcow2)+4096))
		_, _ = w.Write(l.qcow2)
	}), "announced")
}

// tooShort announces less than the file is long: the rest never comes, and the file is no whole disk.
func tooShort(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.qcow2)/3))
		_, _ = w.Write(l.qcow2[:len(l.qcow2)/3])
	}), "")
}

// nobodysCertificate is not trusted, and the reason says so.
func nobodysCertificate(l *badLab) {
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(l.qcow2) }))
	defer web.Close()
	l.refused(web.URL+"/disk.qcow2", "certificate")
}

// webPage is what a login form answers to every request.
func webPage(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body>Please log in</body></html>"))
	}), "web page")
}

// directoryListing is the URL of a directory instead of a file.
func directoryListing(l *badLab) {
	web := l.serveDir()
	l.refused(web.URL+"/", "web page")
}

// cutFile was damaged before it was put on the server: the length is right there.
func cutFile(l *badLab) {
	for _, part := range []int{100, 70000, len(l.qcow2) / 2, len(l.qcow2) - 65536} {
		l.refused(l.serve(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "disk.qcow2", time.Time{}, bytes.NewReader(l.qcow2[:part]))
		}), "")
	}
}

func emptyFile(l *badLab) {
	l.refused(l.serve(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") }), "empty")
}
