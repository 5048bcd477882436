package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
)

// startHTTP serves frames with sendfile (without TLS) to clients that keep one connection each.
func startHTTP(dir string, useTLS bool) (fetch, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	scheme := "http"
	if useTLS {
		serverTLS, clientTLS, err := tlsPair()
		if err != nil {
			return nil, nil, err
		}
		scheme, server.TLSConfig, transport.TLSClientConfig = "https", serverTLS, clientTLS
		transport.ForceAttemptHTTP2 = false
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		go func() { _ = server.ServeTLS(l, "", "") }()
	} else {
		go func() { _ = server.Serve(l) }()
	}
	return fetchHTTP(transport, scheme+"://"+l.Addr().String()), func() { transport.CloseIdleConnections(); _ = server.Close() }, nil
}

// startUnix is startHTTP over a unix socket, which has no sendfile in Go.
func startUnix(dir string, _ bool) (fetch, func(), error) {
	path := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	go func() { _ = server.Serve(l) }()
	transport := &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}
	return fetchHTTP(transport, "http://hub"), func() { transport.CloseIdleConnections(); _ = server.Close() }, nil
}

// fetchHTTP fetches frames below a URL.
func fetchHTTP(transport *http.Transport, base string) fetch {
	client := &http.Client{Transport: transport}
	return func(ctx context.Context, n int, buf []byte) error {
		for i := range n {
			if err := get(ctx, client, fmt.Sprintf("%s/%d", base, i%frameCount), buf); err != nil {
				return err
			}
		}
		return nil
	}
}

func get(ctx context.Context, client *http.Client, url string, buf []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 1 {
		return fmt.Errorf("answer %s %s", resp.Proto, resp.Status)
	}
	_, err = io.ReadFull(resp.Body, buf[:resp.ContentLength])
	return err
}
