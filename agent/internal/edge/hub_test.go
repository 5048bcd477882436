package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// passTo sends a request by way of a hub at an address and returns the answer's code and the error.
func passTo(t *testing.T, h *hub, method, body string) (int, error) {
	t.Helper()
	r := httptest.NewRequest(method, "/v2/x", strings.NewReader(body))
	w := httptest.NewRecorder()
	err := h.pass(w, r, call{patience: longer.read})
	return w.Code, err
}

func hubAt(t *testing.T, base string, c *tls.Config) *hub {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(u, "dcn0", c, hclog.NewNullLogger(), time.Now)
	h.dialer.Timeout, h.transport.TLSHandshakeTimeout = longer.write, longer.write
	t.Cleanup(h.close)
	return h
}

func TestHubWithTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/images/site/dcn0/v2/x" {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates
	server.StartTLS()
	defer server.Close()
	trust := x509.NewCertPool()
	trust.AddCert(server.Certificate())
	h := hubAt(t, server.URL+"/images/", &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12})
	if code, err := passTo(t, h, "POST", "{}"); err != nil || code != http.StatusAccepted {
		t.Errorf("%d, %v", code, err)
	}
	if _, err := passTo(t, hubAt(t, server.URL, nil), "POST", "{}"); fault.ReasonOf(err) != "HUB_AWAY" {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

// Whether a change may have been carried out depends on whether anything of it was sent.
func TestWhatWasSent(t *testing.T) {
	t.Parallel()
	l := listen(t)
	taken := make(chan struct{})
	go func() { // takes one request after the other and hangs up
		defer close(taken)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_ = c.Close()
		}
	}()
	address := "http://" + l.Addr().String()
	for method, reason := range map[string]string{"PATCH": "OUTCOME_UNKNOWN", "DELETE": "OUTCOME_UNKNOWN", "GET": "HUB_AWAY"} {
		if _, err := passTo(t, hubAt(t, address, nil), method, "[]"); fault.ReasonOf(err) != reason {
			t.Errorf("%s that the hub took: %v", method, err)
		}
	}
	_ = l.Close()
	<-taken
	for _, method := range []string{"PATCH", "DELETE", "GET"} {
		if _, err := passTo(t, hubAt(t, address, nil), method, "[]"); fault.ReasonOf(err) != "HUB_AWAY" {
			t.Errorf("%s that nobody took: %v", method, err)
		}
	}
}

// A hub that never answers holds up nobody for longer than the request's patience.
func TestHubThatNeverAnswers(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	h := hubAt(t, "http://"+l.Addr().String(), nil)
	w := httptest.NewRecorder()
	began := time.Now()
	err = h.pass(w, httptest.NewRequest(http.MethodGet, "/v2/images", nil), call{patience: 50 * time.Millisecond, fallback: true})
	if fault.ReasonOf(err) != "HUB_AWAY" || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if err := h.ready(true); err == nil {
		t.Error("it is asked again at once for what the site can answer")
	}
	if err := h.ready(false); err != nil {
		t.Errorf("it is not asked for what only it can answer: %v", err)
	}
}

// Whoever is out of patience before the request is even sent hears of the hub, not of headers that would not be in order; and an
// answer that comes in the moment in which patience ends is not begun, because it would be cut off.
func TestPatienceEndsEarlyOrLate(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	h := hubAt(t, server.URL, nil)
	for range 20 {
		w := httptest.NewRecorder()
		err := h.pass(w, httptest.NewRequest(http.MethodGet, "/v2/images", nil), call{patience: time.Nanosecond})
		if err != nil && fault.ReasonOf(err) != "HUB_AWAY" {
			t.Fatalf("at once: %v", err)
		}
	}
	over := make(chan struct{})
	a := &attempt{timer: time.AfterFunc(0, func() { close(over) }), answered: func(int) { t.Error("the answer begins") }}
	<-over
	r := httptest.NewRequest(http.MethodGet, "/v2/images", nil)
	answer := &http.Response{StatusCode: http.StatusOK, Request: r.WithContext(context.WithValue(r.Context(), attemptKey{}, a))}
	if err := h.accept(answer); !errors.Is(err, errSlow) {
		t.Errorf("too late: %v", err)
	}
}

// Requests beyond the limit are refused, not queued.
func TestPassesAreLimited(t *testing.T) {
	t.Parallel()
	h := hubAt(t, "http://127.0.0.1:1", nil)
	for range passes {
		h.slots <- struct{}{}
	}
	if _, err := passTo(t, h, "GET", ""); fault.ReasonOf(err) != "TOO_MANY_REQUESTS" {
		t.Errorf("one too many: %v", err)
	}
}
