package imageapi

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, so that time in them is the test's own.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// serveSlow runs a server in a bubble with its own time and returns a function that connects to it.
func serveSlow(t *testing.T, handler http.HandlerFunc, use func(dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s := NewHTTPServer(handler, nil)
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		use(func() net.Conn {
			client, server := net.Pipe()
			l.conns <- server
			t.Cleanup(func() { _ = client.Close() })
			return client
		})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func say(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// after waits in the test's own time.
func after(d time.Duration) { <-time.After(d) }

func TestSlowHeaders(t *testing.T) {
	serveSlow(t, func(http.ResponseWriter, *http.Request) { t.Error("called") }, func(dial func() net.Conn) {
		begin := time.Now()
		c := dial()
		say(t, c, "GET / HTTP/1.1\r\nHost: x\r\n")
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != headerTimeout {
			t.Error("cut after", took)
		}
	})
}

func TestIdleConnection(t *testing.T) {
	serveSlow(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, func(dial func() net.Conn) {
		c := dial()
		for range 2 { // the second after longer than any deadline of the first
			say(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			a, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || a.StatusCode != http.StatusNoContent {
				t.Fatal(err, a)
			}
			after(idleTimeout - time.Second)
		}
		after(2 * time.Second)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// upload answers with how many bytes arrived and why no more did.
func upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.WriteHeader(http.StatusRequestTimeout)
	case err != nil || n != r.ContentLength:
		w.WriteHeader(http.StatusBadRequest)
	default:
		after(2 * stall) // what happens after the body may take as long as it likes
		if r.Context().Err() != nil {
			w.WriteHeader(http.StatusTeapot)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func TestSlowUploads(t *testing.T) {
	piece := strings.Repeat("x", flow)
	for name, c := range map[string]struct {
		pieces []string
		pause  time.Duration
		code   int
		took   time.Duration
	}{
		"flowing":    {[]string{piece, piece, piece, piece, piece, piece}, stall - time.Second, 204, 5*(stall-time.Second) + 2*stall},
		"stalled":    {[]string{piece, piece, ""}, stall + time.Second, 408, stall},
		"trickling":  {[]string{"x", "x", "x", "x", "x", "x", "x", "x"}, stall / 4, 408, stall},
		"small body": {[]string{"x", "x", "x"}, stall / 4, 204, stall/2 + 2*stall},
		"nothing":    {[]string{"", ""}, 2 * stall, 408, stall},
	} {
		t.Run(name, func(t *testing.T) {
			serveSlow(t, upload, func(dial func() net.Conn) {
				conn := dial()
				total := len(strings.Join(c.pieces, ""))
				if c.code == 408 {
					total += flow
				}
				begin := time.Now()
				say(t, conn, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(total)+"\r\n\r\n")
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for i, p := range c.pieces {
						if i > 0 {
							after(c.pause)
						}
						if _, err := io.WriteString(conn, p); err != nil {
							return
						}
					}
				}()
				a, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); a.StatusCode != c.code || took != c.took {
					t.Error(a.Status, "after", took)
				}
				_ = conn.Close()
				<-sent
			})
		})
	}
}

// A client that is answered before it has sent its body cannot hold the connection for long.
func TestUnreadBody(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	serveSlow(t, refuse, func(dial func() net.Conn) {
		c := dial()
		begin := time.Now()
		say(t, c, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < leftover || took > 2*leftover {
			t.Error("cut after", took)
		}
	})
}

func TestSlowDownloads(t *testing.T) {
	const size = 8 * writeSlice
	var result chan error
	serveSlow(t, func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, size))
		result <- err
	}, func(dial func() net.Conn) {
		result = make(chan error, 1) // in the bubble
		c := dial()
		say(t, c, "GET / HTTP/1.0\r\n\r\n")
		for range 3 { // takes much longer than a stall in all
			after(stall - time.Second)
			if _, err := io.CopyN(io.Discard, c, 2*writeSlice); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := io.Copy(io.Discard, c); err != nil || n < 2*writeSlice {
			t.Error(n, err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		c = dial()
		begin := time.Now()
		say(t, c, "GET / HTTP/1.0\r\n\r\n")
		if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != stall {
			t.Error(err, time.Since(begin))
		}
	})
}

func TestControllerReachesConnection(t *testing.T) {
	b := newBench(t)
	b.router.Handle(http.MethodGet, "/v2/flush", func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "x")
		return http.NewResponseController(w).Flush()
	})
	b.get("/v2/flush", "alpha")
	serveSlow(t, b.handler.ServeHTTP, func(dial func() net.Conn) {
		c := dial()
		say(t, c, "GET /v2/flush HTTP/1.1\r\nHost: x\r\nX-Auth-Token: alpha\r\nConnection: close\r\n\r\n")
		all, err := io.ReadAll(c)
		if err != nil || !strings.HasSuffix(string(all), "1\r\nx\r\n0\r\n\r\n") {
			t.Errorf("%v: %q", err, all)
		}
	})
}
