package outside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

const (
	maxRedirects = 5
	maxHeader    = 64 << 10 // bytes of the head of an answer
)

// Client fetches. Safe for concurrent use. It keeps no connections between transfers, so there is nothing to close.
type Client struct {
	filter    *filter
	transport *http.Transport
	options   Options
	again     retry.Policy // between attempts to get an answer
}

// New returns a client. Errors are Invalid and name the flag that is wrong.
func New(o Options) (*Client, error) {
	for d, value := range map[*time.Duration]time.Duration{&o.Connect: 10 * time.Second, &o.Header: time.Minute, &o.Stall: time.Minute} {
		if *d <= 0 {
			*d = value
		}
	}
	if err := o.parallel(); err != nil {
		return nil, err
	}
	f, err := newFilter(o)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: o.Connect, Resolver: o.Resolver, ControlContext: f.control, KeepAlive: 30 * time.Second}
	return &Client{
		filter: f, options: o,
		again: retry.Policy{Initial: o.Connect / 20, Max: o.Connect / 2},
		transport: &http.Transport{
			DialContext:         dialer.DialContext, // no proxy: it would choose the address instead
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: o.Connect,
			// Bytes come as the source stores them, over a connection of their own: one that was allowed for one name is not
			// used for another.
			DisableCompression: true, DisableKeepAlives: true,
			MaxResponseHeaderBytes: maxHeader,
		},
	}, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	var pool *x509.CertPool // nil: the system's
	if file == "" {
		return pool, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "import-ca-file: cannot be read")
	}
	pool = x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.BadField("import-ca-file", "holds no certificate")
	}
	return pool, nil
}

// Check returns an Invalid error when a URL may not be fetched whatever is behind it. It does not connect.
func (c *Client) Check(uri string) error { return c.filter.check(uri) }

// Request says what to get.
type Request struct {
	URI    string
	Header http.Header // sent along; only without Follow
	Follow bool        // whether redirects are followed
	// Proven says that the caller compares the data with a checksum of its own, so that nobody on the way can replace it: then
	// https may lead to http.
	Proven bool
}

// Open begins to get a source. It blocks until the source answers or ctx ends. The caller closes the body, whose reads end
// with ctx too. Errors are for users: what cannot be reached and what may not be asked fail with the same text after the
// same time.
func (c *Client) Open(ctx context.Context, r Request) (*Body, error) {
	if err := c.Check(r.URI); err != nil {
		return nil, err
	}
	b := newBody(ctx, c, r)
	if err := b.start(); err != nil {
		return nil, final(ctx, err)
	}
	return b, nil
}

// reach calls get until it answers, fails for good or the time of a connection has passed.
func (c *Client) reach(ctx context.Context, get func() error) error {
	window, cancel := context.WithTimeout(ctx, c.options.Connect)
	defer cancel()
	wait := c.again.Backoff()
	for {
		err := get()
		if err == nil || !fault.Retryable(err) || ctx.Err() != nil || wait.Wait(window) != nil {
			return err
		}
	}
}

// answer is an answer whose body is being read.
type answer struct {
	*http.Response
	cancel context.CancelCauseFunc // ends it, whoever reads
	peer   string                  // address that it comes from
}

func (a *answer) close() {
	a.cancel(nil)
	_ = a.Body.Close()
}

// ask sends a request and returns an answer with one of the wanted statuses. Its errors are Unavailable when asking again
// may help. The caller closes the answer.
func (c *Client) ask(ctx context.Context, r Request, more http.Header, wanted ...int) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.options.Header, func() { cancel(errStalled) })
	var peer string
	resp, err := c.send(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		peer = i.Conn.RemoteAddr().String() // the last one is that of the answer
	}}), r, more)
	if !late.Stop() && err == nil {
		_ = resp.Body.Close()
		err = errStalled
	}
	if err != nil {
		cancel(nil)
		return nil, transportError(err)
	}
	a := &answer{resp, cancel, peer}
	if slices.Contains(wanted, resp.StatusCode) {
		return a, nil
	}
	a.close()
	return nil, refusal(resp.StatusCode)
}

func (c *Client) send(ctx context.Context, r Request, more http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URI, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "atoll-hub")
	if !r.Follow { // else they could reach somebody they are not for
		maps.Copy(req.Header, r.Header)
	}
	maps.Copy(req.Header, more)
	once := http.Client{Transport: c.transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		return c.redirect(r, req, via)
	}}
	return once.Do(req)
}

// redirect decides whether a redirect is followed.
func (c *Client) redirect(r Request, req *http.Request, via []*http.Request) error {
	if !r.Follow {
		return http.ErrUseLastResponse
	}
	req.Header.Del("Referer") // the URL that led here may hold secrets
	switch {
	case len(via) > maxRedirects:
		return errRedirects
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https" && !r.Proven:
		return errInsecure
	}
	return c.filter.checkURL(req.URL)
}

// refusal is the error for a status that is not wanted. Of what the source says only the number is repeated.
func refusal(status int) error {
	if status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= http.StatusInternalServerError {
		return fault.Wrap(Status(status), fault.Unavailable, "SOURCE_REFUSED", "uri: the source answered %d", status)
	}
	err := fault.BadField("uri", "the source answered %d; 200 OK is needed", status)
	err.Cause = Status(status)
	return err
}

// isPage reports whether a content type is that of a web page: an error that says it is none, a login, a list of files.
func isPage(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "text/html" || media == "application/xhtml+xml"
}
