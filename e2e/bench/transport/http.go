package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
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
	client := &http.Client{Transport: transport}
	f := func(ctx context.Context, n int, buf []byte) error {
		for i := range n {
			url := fmt.Sprintf("%s://%s/%d", scheme, l.Addr(), i%frameCount)
			if err := get(ctx, client, url, buf); err != nil {
				return err
			}
		}
		return nil
	}
	return f, func() { transport.CloseIdleConnections(); _ = server.Close() }, nil
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
