package frame

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Endpoint is where frames are served: an https URL, several of them that serve the same, or a unix socket on this host.
type Endpoint struct {
	base   string   // scheme and authority, without a slash at the end
	socket string   // path of the unix socket; empty for https
	others []string // HOST:PORT of further servers, which take turns with the one of base
}

// ParseEndpoints returns several https URLs as one Endpoint, or a single one of either form. Errors are those of
// ParseEndpoint.
func ParseEndpoints(field string, list []string) (Endpoint, error) {
	var all Endpoint
	for i, s := range list {
		e, err := ParseEndpoint(field, s)
		switch {
		case err != nil:
			return Endpoint{}, err
		case i == 0:
			all = e
		case e.socket != "" || all.socket != "":
			return Endpoint{}, fault.BadField(field, "a unix socket stands alone")
		default:
			all.others = append(all.others, e.address())
		}
	}
	if len(list) == 0 {
		return ParseEndpoint(field, "")
	}
	return all, nil
}

// address returns the HOST:PORT of an https endpoint.
func (e Endpoint) address() string {
	host := strings.TrimPrefix(e.base, "https://")
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), "443")
	}
	return host
}

// ParseEndpoint returns s as an Endpoint: https://HOST:PORT or unix:/PATH. It returns an Invalid error that names field.
func ParseEndpoint(field, s string) (Endpoint, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return Endpoint{}, fault.BadField(field, "a unix socket needs an absolute path, as in unix:/PATH")
		}
		return Endpoint{base: "http://atoll-hub", socket: path}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return Endpoint{}, fault.BadField(field, "use https://HOST:PORT or unix:/PATH")
	}
	return Endpoint{base: "https://" + u.Host}, nil
}

// String returns the endpoint as ParseEndpoint takes it.
func (e Endpoint) String() string {
	if e.socket != "" {
		return "unix:" + e.socket
	}
	return e.base
}

// Limits of a connection. The longest wait for the first byte of an answer is longer than any server waits with it.
const (
	dialTimeout     = 10 * time.Second
	headerTimeout   = time.Minute
	idleTimeout     = 90 * time.Second
	idlePerHost     = 32
	transportBuffer = 64 << 10
)

// NewTransport returns a transport for one endpoint: HTTP/1.1 only, no compression, idle connections kept for reuse.
// config is used for https and not changed; it carries the client certificate and what to trust. Of several servers the
// one that answered last is tried first. Close idle
// connections with CloseIdleConnections when done.
func NewTransport(e Endpoint, config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:           dialer.DialContext,
		Protocols:             &protocols,
		DisableCompression:    true,
		MaxIdleConns:          idlePerHost,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       idleTimeout,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		ReadBufferSize:        transportBuffer,
		WriteBufferSize:       transportBuffer,
	}
	if e.socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", e.socket)
		}
		return t
	}
	t.TLSClientConfig = config.Clone()
	if len(e.others) > 0 {
		turns := &turns{addresses: append([]string{e.address()}, e.others...), dialer: tls.Dialer{NetDialer: dialer, Config: t.TLSClientConfig}}
		t.DialTLSContext = turns.dial
	}
	return t
}
