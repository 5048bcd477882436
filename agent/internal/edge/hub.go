package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Bounds of what is passed to the hub.
const (
	passes      = 256              // requests at once
	dialTimeout = 3 * time.Second  // to connect
	deadAfter   = 10 * time.Second // without any sign of life while something is on its way
	quiet       = 2 * time.Second  // after a failure, before the hub is asked again
)

// hub passes requests to the Image API of the hub. Its methods may be called at the same time.
type hub struct {
	base      *url.URL
	prefix    string // path that tells the hub which site this is
	dialer    *net.Dialer
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	slots     chan struct{}
	log       hclog.Logger
	now       func() time.Time

	mu    sync.Mutex
	away  time.Time // until then it counts as away
	slow  time.Time // until then it counts as too slow for requests that the site can answer
	cause error     // of away or slow
	lost  bool      // as the log says
}

// newHub returns the way to the hub's Image API at base. tlsConfig may be nil.
func newHub(base *url.URL, id image.SiteID, tlsConfig *tls.Config, logger hclog.Logger, now func() time.Time) *hub {
	h := &hub{base: base, prefix: "/site/" + string(id), slots: make(chan struct{}, passes), log: logger, now: now}
	h.dialer = &net.Dialer{
		Timeout: dialTimeout, Control: dieEarly,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 2},
	}
	h.transport = &http.Transport{
		DialContext: counting(h.dialer), TLSClientConfig: tlsConfig, TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute, ExpectContinueTimeout: 5 * time.Second, DisableCompression: true,
		MaxResponseHeaderBytes: 64 << 10, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}
	h.proxy = &httputil.ReverseProxy{
		Rewrite: h.rewrite, Transport: h.transport, ModifyResponse: h.accept, BufferPool: &pieces{}, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { attemptOf(r).err = err },
	}
	return h
}

// dieEarly makes the system give up on a connection whose other end acknowledges nothing, such as one over a dead link.
func dieEarly(_, _ string, c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter/time.Millisecond))
	})
	return errors.Join(cerr, err)
}

// close ends connections that are idle.
func (h *hub) close() { h.transport.CloseIdleConnections() }

// attempt is one request on its way. It is reached by way of the request's context.
type attempt struct {
	timer    *time.Timer          // nil: the answer may begin when it likes
	fallback bool                 // the site can answer itself
	answered func(code int)       // called before the answer is written; may be nil
	asked    atomic.Bool          // a connection to the hub was wanted
	sent     atomic.Pointer[mark] // where its connection stood before it; nil without a connection
	body     atomic.Value         // error, as a failed, of reading the client's body
	err      error
}

type attemptKey struct{}

func attemptOf(r *http.Request) *attempt {
	a, _ := r.Context().Value(attemptKey{}).(*attempt)
	return a
}

// errSlow is the cause of a request that ended because the hub's answer did not begin in time.
var errSlow = errors.New("the hub's answer did not begin in time")

// call is how a request is passed.
type call struct {
	patience time.Duration // how long the answer may take to begin; 0: for ever
	// fallback says that the site can answer in the hub's place: the hub is not asked while it is known to be slow, and an
	// answer that says no more than that it cannot serve does not count.
	fallback bool
	answered func(code int) // called before the hub's answer is written; may be nil
}

// pass lets the hub answer. When it returns an error, nothing has been written: Unavailable when the hub cannot be reached,
// Timeout when it is not known what became of a request. A client that has left is no error.
func (h *hub) pass(w http.ResponseWriter, r *http.Request, c call) error {
	if err := h.ready(c.fallback); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return fault.New(fault.Unavailable, "TOO_MANY_REQUESTS", "the site passes too many requests to the hub now")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	a := &attempt{fallback: c.fallback, answered: c.answered}
	if c.patience > 0 {
		a.timer = time.AfterFunc(c.patience, func() { cancel(errSlow) })
		defer a.timer.Stop()
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { a.asked.Store(true) }, GotConn: a.got})
	out := r.WithContext(context.WithValue(ctx, attemptKey{}, a))
	if out.Body != nil && out.Body != http.NoBody {
		out.Body = &watched{ReadCloser: out.Body, attempt: a}
	}
	h.proxy.ServeHTTP(w, out)
	if a.err == nil {
		h.found()
		return nil
	}
	if r.Context().Err() != nil {
		return nil
	}
	if f, ok := a.body.Load().(failed); ok {
		return fault.Wrap(f.error, fault.Invalid, "BODY_CUT", "the body did not arrive in time, or ended early")
	}
	slow := errors.Is(context.Cause(ctx), errSlow) || errors.Is(a.err, errSlow)
	if !a.asked.Load() && !slow { // which says nothing about the hub
		return fault.Wrap(a.err, fault.Invalid, "NOT_PASSED_ON", "the request cannot be passed to the hub: its headers are not in order")
	}
	return h.failed(r, a, slow)
}

// failed notes what a failure says about the hub and returns the error for the client.
func (h *hub) failed(r *http.Request, a *attempt, slow bool) error {
	sent := a.sent.Load().moved()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cause = a.err
	h.slow = h.now().Add(quiet)
	if !sent && !slow {
		h.away = h.slow
	}
	if !h.lost {
		h.lost = true
		h.log.Warn("hub's Image API not reachable", "error", a.err)
	}
	if sent && r.Method != http.MethodGet {
		return fault.Wrap(a.err, fault.Timeout, "OUTCOME_UNKNOWN", "the hub has not answered; it may have carried out the request")
	}
	return unreachable(a.err)
}

func unreachable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "HUB_AWAY", "this site cannot reach the hub, and cannot answer by itself; try again later")
}

// ready returns an error while it is of no use to ask the hub.
func (h *hub) ready(fallback bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if now.Before(h.away) || fallback && now.Before(h.slow) {
		return unreachable(h.cause)
	}
	return nil
}

// found notes that the hub has answered.
func (h *hub) found() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away, h.slow = time.Time{}, time.Time{}
	if h.lost {
		h.lost = false
		h.log.Info("hub's Image API reachable again")
	}
}

// rewrite makes the request for the hub: the same, with the site in front of its path.
func (h *hub) rewrite(p *httputil.ProxyRequest) {
	rest := cutSite(p.In.URL)
	out := p.Out.URL
	out.Scheme, out.Host, out.RawQuery = h.base.Scheme, h.base.Host, p.In.URL.RawQuery
	out.RawPath = strings.TrimSuffix(h.base.EscapedPath(), "/") + h.prefix + rest
	out.Path, _ = url.PathUnescape(out.RawPath) // it was part of a URL
	p.Out.Host = h.base.Host
}

// errRefused is an answer that says that the hub cannot serve.
var errRefused = errors.New("the hub cannot serve now")

// accept looks at the headers of an answer.
func (h *hub) accept(answer *http.Response) error {
	a := attemptOf(answer.Request)
	if a.timer != nil && !a.timer.Stop() {
		return errSlow // what follows would be cut off
	}
	if a.fallback && answer.StatusCode >= http.StatusBadGateway && answer.StatusCode <= http.StatusGatewayTimeout {
		return errRefused
	}
	if a.answered != nil {
		a.answered(answer.StatusCode)
	}
	if u, err := url.Parse(answer.Header.Get("Location")); err == nil && (u.Host == "" || u.Host == h.base.Host) {
		// The client stays with the site.
		if rest, ok := strings.CutPrefix(u.Path, strings.TrimSuffix(h.base.Path, "/")+h.prefix); ok {
			u.Path, u.RawPath = rest, ""
		}
		if u.Scheme, u.Host = "", ""; u.Path != "" {
			answer.Header.Set("Location", u.String())
		}
	}
	return nil
}

// failed is an error in an atomic.Value.
type failed struct{ error }

// watched is a client's body that remembers whether reading it failed.
type watched struct {
	io.ReadCloser
	attempt *attempt
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, http.ErrBodyReadAfterClose) {
		b.attempt.body.Store(failed{err})
	}
	return n, err
}

// pieces are the buffers that answers are copied through.
type pieces struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *pieces) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 128<<10)
}

// Put implements httputil.BufferPool.
func (p *pieces) Put(b []byte) { p.pool.Put(&b) }
