package frame

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestServersTakeTurns(t *testing.T) {
	listen := func() net.Listener { // where nobody else listens and could get the port of a server that has gone
		l, err := net.Listen("tcp", "127.0.0.77:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	serve := func(name string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, name)
		}))
		_ = s.Listener.Close()
		s.Listener = listen()
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	dead := listen()
	a, b := serve("a"), serve("b")
	_ = dead.Close()
	e, err := ParseEndpoints("frames", []string{"https://" + dead.Addr().String(), a.URL, b.URL})
	if err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(e, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // which server answers is what counts
	defer transport.CloseIdleConnections()
	get := func() string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return ""
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for range 3 {
		if got := get(); got != "a" {
			t.Fatalf("%q answers; a is the first that does", got)
		}
	}
	a.Close()
	for range 3 {
		if got := get(); got != "b" {
			t.Fatalf("%q answers; only b is left", got)
		}
	}
	b.Close()
	if got := get(); got != "" {
		t.Fatalf("%q answers; nobody is left", got)
	}
}

func TestParseEndpoints(t *testing.T) {
	for _, c := range []struct {
		list []string
		ok   bool
	}{
		{[]string{"unix:/run/x"}, true},
		{[]string{"https://a:1", "https://b:2"}, true},
		{nil, false},
		{[]string{"https://a:1", "unix:/run/x"}, false},
		{[]string{"unix:/run/x", "https://a:1"}, false},
		{[]string{"https://a:1", "http://b:2"}, false},
	} {
		if _, err := ParseEndpoints("frames", c.list); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.list, err)
		}
	}
	e, err := ParseEndpoints("frames", []string{"https://[::1]", "https://b"})
	if err != nil || e.address() != net.JoinHostPort("::1", "443") || e.others[0] != "b:443" {
		t.Errorf("got %+v, %v", e, err)
	}
}
