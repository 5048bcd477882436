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

// Endpoint is where frames are served: an https URL or a unix socket on this host.
type Endpoint struct {
	base   string // scheme and authority, without a slash at the end
	socket string // path of the unix socket; empty for https
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
// config is used for https and not changed; it carries the client certificate and what to trust. Close idle
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
	return t
}
