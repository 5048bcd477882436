package outside

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Row 23: every hop of a chain of redirects is judged, by its text and by the address that is dialled.
func TestRow23Redirects(t *testing.T) {
	t.Parallel()
	secret := inside(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(secret, "http://"))
	hops := map[string]string{
		"to the inside":         secret,
		"to metadata":           "http://169.254.169.254/latest/meta-data/",
		"to metadata by name":   "http://metadata.test/",
		"to the inside by name": "http://inside.test:" + port + "/",
		"encoded":               "http://0x7f000002:" + port + "/",
		"decimal":               "http://2130706434:" + port + "/",
		"short":                 "http://127.2:" + port + "/",
		"mapped":                "http://[::ffff:127.0.0.2]:" + port + "/",
		"a file":                "file:///etc/passwd",
		"ftp":                   "ftp://127.0.0.2:" + port + "/",
		"nowhere":               "http://%zz/",
	}
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		name, n, _ := strings.Cut(r.URL.Query().Get("to"), "|")
		to := hops[name]
		if n != "" {
			to = fmt.Sprintf("/?to=%s|%s", strings.ReplaceAll(name, " ", "+"), n[1:])
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	})
	c := newClient(t, func(o *Options) {
		o.Resolver = newZone(t, func(name string, _ int64) string {
			return map[string]string{"metadata.test": "169.254.169.254", "inside.test": "127.0.0.2"}[name]
		})
	})
	for name := range hops {
		for _, more := range []string{"", "xx"} {
			t.Run(name+more, func(t *testing.T) {
				t.Parallel()
				_, err := get(t, c, Request{URI: web.URL + "/?to=" + strings.ReplaceAll(name, " ", "+") + "|" + more, Follow: true})
				wantReason(t, name, err, ReasonUnreachable)
			})
		}
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	t.Parallel()
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" {
			t.Errorf("the URL that led here was told: %s", r.Header.Get("Referer"))
		}
		if n := strings.TrimPrefix(r.URL.Path, "/"); n != "" {
			http.Redirect(w, r, "/"+n[1:], http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("data"))
	})
	c := newClient(t)
	if data, err := get(t, c, Request{URI: web.URL + "/xxxxx?secret=1", Follow: true}); err != nil || string(data) != "data" {
		t.Errorf("five: got %q, %v", data, err)
	}
	_, err := get(t, c, Request{URI: web.URL + "/xxxxxx", Follow: true})
	wantReason(t, "six", err, ReasonUnreachable)
	_, err = get(t, c, Request{URI: web.URL + "/x", Header: http.Header{"X-Auth-Token": {"t"}}})
	wantReason(t, "not followed", err, "INVALID_FIELD")
}

// Row 23: a name that changes its address between two looks at it gains nothing: what is dialled is what is judged.
func TestRow23Rebinding(t *testing.T) {
	t.Parallel()
	secret := inside(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(secret, "http://"))
	for name, answer := range map[string]func(string, int64) string{
		"always inside": func(string, int64) string { return "127.0.0.2" },
		"outside, then inside": func(_ string, n int64) string {
			if n == 1 {
				return "127.0.0.3" // nothing listens there at this port; at 127.0.0.1 another test may
			}
			return "127.0.0.2"
		},
		"metadata":  func(string, int64) string { return "169.254.169.254" },
		"multicast": func(string, int64) string { return "224.0.0.1" },
		"nothing":   func(string, int64) string { return "0.0.0.0" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, func(o *Options) {
				o.AllowNetworks, o.Resolver = append(o.AllowNetworks, "127.0.0.3"), newZone(t, answer)
			})
			_, err := get(t, c, Request{URI: "http://rebind.test:" + port + "/", Follow: true})
			wantReason(t, name, err, ReasonUnreachable)
		})
	}
}

// Row 23: what was allowed at the beginning is judged again when the connection breaks and when a redirect leads back.
func TestRow23RebindingDuringTransfer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	web, l := serveBeside(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/again" {
			http.Redirect(w, r, "/x", http.StatusFound)
			return
		}
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(make([]byte, 500))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(web.URL, "http://"))
	connected := make(chan error, 1)
	go func() { _, err := l.Accept(); connected <- err }()
	for _, path := range []string{"/x", "/again"} {
		asked.Store(0)
		c := newClient(t, func(o *Options) {
			o.Resolver = newZone(t, func(string, int64) string {
				return map[bool]string{true: "127.0.0.1", false: "127.0.0.2"}[asked.Load() == 0]
			})
		})
		_, err := get(t, c, Request{URI: "http://rebind.test:" + port + path, Follow: true})
		wantReason(t, path, err, map[string]string{"/x": ReasonLost, "/again": ReasonUnreachable}[path])
	}
	_ = l.Close()
	if err := <-connected; err == nil {
		t.Error("somebody has connected to the inside")
	}
}

// Row 25: what may not be asked, does not answer or does not exist fails with the same words after the same time.
func TestRow25NoScanner(t *testing.T) {
	t.Parallel()
	secret := inside(t)
	_, open, _ := net.SplitHostPort(strings.TrimPrefix(secret, "http://"))
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secret, http.StatusFound) })
	c := newClient(t, func(o *Options) {
		o.Resolver = newZone(t, func(name string, _ int64) string {
			return map[string]string{"open.test": "127.0.0.2", "closed.test": "127.0.0.2", "away.test": "127.0.0.1", "private.test": "10.255.255.1"}[name]
		})
	})
	var text string
	for name, uri := range map[string]string{
		"refused, something listens": "http://open.test:" + open + "/",
		"refused, nothing listens":   "http://closed.test:1/",
		"refused, nobody is there":   "http://private.test/",
		"allowed, nothing listens":   "http://away.test:1/",
		"no such name":               "http://missing.test/",
		"a redirect to the inside":   web.URL,
	} {
		began := time.Now()
		_, err := get(t, c, Request{URI: uri, Follow: true})
		took := time.Since(began)
		wantReason(t, name, err, ReasonUnreachable)
		if text == "" {
			text = fault.Public(err)
		}
		if got := fault.Public(err); got != text || fault.ClassOf(err) != fault.Precondition {
			t.Errorf("%s: got %q, others %q", name, got, text)
		}
		if took < connect*9/10 || took > 100*connect {
			t.Errorf("%s: took %v, others %v", name, took, connect)
		}
	}
}

// Row 25: ports are judged whether or not the URL names them.
func TestRow25Ports(t *testing.T) {
	t.Parallel()
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"22", "25", "2379", "3306", "5000", "6379", "6789", "8774", "9292", "9393"} {
		if err := c.Check("http://example.org:" + port + "/"); !fault.Is(err, fault.Invalid) {
			t.Errorf("port %s: %v", port, err)
		}
	}
	only, err := New(Options{AllowPorts: []string{"443"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := only.Check("http://example.org/"); !fault.Is(err, fault.Invalid) {
		t.Errorf("port 80 that is not named: %v", err)
	}
}

// Row 47: nothing but http and https is ever opened, wherever the URL comes from.
func TestRow47Schemes(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, uri := range []string{
		"file:///etc/passwd", "FILE:///etc/passwd", "file:etc", "filesystem:///etc/passwd", "/etc/passwd", "ftp://127.0.0.1/", "unix:///run/x", "data:,x",
	} {
		_, err := get(t, c, Request{URI: uri, Follow: true})
		wantReason(t, uri, err, "INVALID_FIELD")
	}
}

// No variable of the environment makes the hub connect through a proxy, which would choose the address.
func TestNoProxy(t *testing.T) {
	proxy := serve(t, "127.0.0.1", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the proxy was asked for %s", r.URL) })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("data")) })
	c := newClient(t, func(o *Options) { o.Resolver = newZone(t, func(string, int64) string { return "127.0.0.1" }) })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(web.URL, "http://"))
	if data, err := get(t, c, Request{URI: "http://images.test:" + port}); err != nil || string(data) != "data" {
		t.Errorf("got %q, %v", data, err)
	}
}

// Neither what users read nor what is logged holds what a URL may have of secrets.
func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop?sig=s3cret", http.StatusFound)
		case "/bad":
			w.Header().Set("Location", "http://user:hunter2@[bad/?sig=s3cret")
			w.WriteHeader(http.StatusFound)
		case "/status":
			w.WriteHeader(http.StatusForbidden)
		default:
			panic(http.ErrAbortHandler)
		}
	})
	c := newClient(t)
	host := strings.TrimPrefix(web.URL, "http://")
	for _, place := range []string{"127.0.0.1:1/", host + "/loop", host + "/bad", host + "/status", host + "/broken", "127.0.0.1:x/", "127.0.0.2/", "%zz/"} {
		_, err := get(t, c, Request{URI: "http://user:hunter2@" + place + "?sig=s3cret#hunter2", Follow: true})
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", place, err)
		}
	}
	for uri, want := range map[string]string{
		"http://user:hunter2@x.org/a?sig=s3cret#f": "http://x.org/a", "http://x.org/a": "http://x.org/a", "HTTP://x.org": "HTTP://x.org",
		"http://x.org/?": "http://x.org/", "http://x.org/%zz": "",
	} {
		if got := Harmless(uri); got != want {
			t.Errorf("%q: got %q", uri, got)
		}
	}
}

// The end of a request ends everything at once.
func TestCancel(t *testing.T) {
	t.Parallel()
	web := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/data" {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	c := newClient(t, func(o *Options) { o.Header, o.Stall, o.Connect = time.Hour, time.Hour, time.Hour })
	for _, uri := range []string{web.URL + "/head", web.URL + "/data", "http://127.0.0.1:1/"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(50*time.Millisecond, func() { cancel(errTest) })
		body, err := c.Open(ctx, Request{URI: uri})
		for err == nil {
			_, err = body.Read(make([]byte, 10))
		}
		if err.Error() != errTest.Error() {
			t.Errorf("%s: got %v", uri, err)
		}
		if body != nil {
			_ = body.Close()
		}
		timer.Stop()
	}
}
