package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// connection is a client that keeps one connection and does little else, so that the hub gets the CPU.
type connection struct {
	conn  net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	token string
}

func dial(ctx context.Context, target, token string) (*connection, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	return &connection{conn, bufio.NewReaderSize(conn, 128<<10), bufio.NewWriter(conn), token}, nil
}

func (c *connection) close() { _ = c.conn.Close() }

// do makes one request and returns the answer's body if keep is set.
func (c *connection) do(method, path, kind, body string, want int, keep bool) ([]byte, error) {
	fmt.Fprintf(c.w, "%s %s HTTP/1.1\r\nHost: images\r\nAccept: application/json\r\nX-Auth-Token: %s\r\n", method, path, c.token)
	if body != "" {
		fmt.Fprintf(c.w, "Content-Type: %s\r\nContent-Length: %d\r\n", kind, len(body))
	}
	fmt.Fprintf(c.w, "\r\n%s", body)
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // what can be read tells enough
		return nil, fmt.Errorf("%s %s: status %d: %s", method, path, resp.StatusCode, text)
	}
	if keep {
		return io.ReadAll(resp.Body)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return nil, err
}

// fill creates images until there are enough.
func (b *bench) fill(ctx context.Context, images int) error {
	const clients = 64
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for n := range clients {
		wg.Go(func() {
			ids, err := b.createSome(ctx, n, images, clients)
			mu.Lock()
			defer mu.Unlock()
			b.ids = append(b.ids, ids...)
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return first
}

// createSome creates every step-th of the images.
func (b *bench) createSome(ctx context.Context, from, images, step int) ([]string, error) {
	c, err := dial(ctx, b.target, b.token)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var ids []string
	for n := from; n < images && ctx.Err() == nil; n += step {
		body, err := c.do("POST", "/v2/images", "application/json", record(n), http.StatusCreated, true)
		if err != nil {
			return nil, err
		}
		var img struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(body, &img); err != nil {
			return nil, err
		}
		ids = append(ids, img.ID)
	}
	return ids, ctx.Err()
}
