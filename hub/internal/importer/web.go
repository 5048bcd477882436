package importer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

const (
	maxURI        = 2048
	maxRedirects  = 5
	headerTimeout = 30 * time.Second
	stallTimeout  = 2 * time.Minute // longest silence of a source
)

// CheckURI returns an Invalid error unless uri can be fetched as far as its form goes.
func CheckURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case uri == "" || len(uri) > maxURI || err != nil:
		return fault.BadField("uri", "must be an http or https URL of at most %d characters", maxURI)
	case u.Scheme != "http" && u.Scheme != "https":
		return fault.BadField("uri", "scheme %q is not supported; use http or https", u.Scheme)
	case u.Host == "":
		return fault.BadField("uri", "has no host")
	}
	return nil
}

// client fetches sources: no proxy from the environment, a bounded number of redirects, no transparent decompression,
// because the bytes of the image are what the source stores.
var client = &http.Client{
	Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: headerTimeout}).DialContext,
		TLSHandshakeTimeout:   headerTimeout,
		ResponseHeaderTimeout: headerTimeout,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   1,
		IdleConnTimeout:       time.Minute,
	},
	CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		return CheckURI(req.URL.String())
	},
}

// get opens a source. The caller closes the body.
func get(ctx context.Context, uri string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, http.NoBody)
	if err != nil {
		return nil, fault.BadField("uri", "is not a URL that can be fetched")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "SOURCE_UNREACHABLE", "uri: the source cannot be reached")
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fault.BadField("uri", "the source answered %s; 200 OK is needed", resp.Status)
	}
	if resp.ContentLength == 0 {
		_ = resp.Body.Close()
		return nil, fault.BadField("uri", "the source is empty")
	}
	return resp, nil
}

// probe asks the source for its length, 0 when it does not say, and so finds out whether it answers at all.
func probe(ctx context.Context, uri string) (int64, error) {
	resp, err := get(ctx, uri)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return max(resp.ContentLength, 0), nil
}

// web returns the source behind a URL.
func web(uri string) Open {
	return func(ctx context.Context) (io.ReadCloser, int64, error) {
		resp, err := get(ctx, uri)
		if err != nil {
			return nil, 0, err
		}
		return resp.Body, max(resp.ContentLength, 0), nil
	}
}
