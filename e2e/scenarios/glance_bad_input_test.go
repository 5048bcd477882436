package scenarios

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// dial opens a raw connection to the Image API.
func (c *cloud) dial() net.Conn {
	c.T.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.Base(), "http://"))
	c.must(err)
	c.T.Cleanup(func() { _ = conn.Close() })
	c.must(conn.SetDeadline(time.Now().Add(2 * time.Minute)))
	return conn
}

// raw sends bytes as they are and returns the status of the answer; 0 when the connection ends without one.
func (c *cloud) raw(head string, body ...[]byte) int {
	c.T.Helper()
	conn := c.dial()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.WriteString(conn, head); err != nil {
			return // the server has closed: that is an answer too
		}
		for _, b := range body {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	_ = conn.Close()
	<-done
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// head is the beginning of a request with a token.
func (c *cloud) head(method, path string, header ...string) string {
	h := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: images\r\nX-Auth-Token: %s\r\n", method, path, c.Demo.Token())
	for _, line := range header {
		h += line + "\r\n"
	}
	return h + "\r\n"
}

// memory returns the most memory that the hub has held so far, in bytes.
func (c *cloud) memory() int64 {
	c.T.Helper()
	return c.Hub.PeakMemory()
}

// badRequests are refused with a reason, whatever their size, and cost the hub no memory.
func badRequests(c *cloud) {
	before := c.memory()
	post := func(body string) int {
		return c.raw(c.head("POST", "/v2/images", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body))), []byte(body))
	}
	var many strings.Builder
	many.WriteString(`{"name":"many"`)
	for i := range 100_000 {
		fmt.Fprintf(&many, `,"p%d":"v"`, i)
	}
	many.WriteString("}")
	huge := strings.Repeat("x", 5<<20)
	for name, code := range map[string]int{
		"100,000 properties":  post(many.String()),
		"deep JSON":           post(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)),
		"deep arrays":         post(`{"tags":` + strings.Repeat("[", 500_000)),
		"a name of 5 MiB":     post(`{"name":"` + huge + `"}`),
		"bad UTF-8":           post("{\"name\":\"\xff\xfe\"}"),
		"an array":            post(`[]`),
		"nothing":             post(``),
		"half an object":      post(`{"name":`),
		"two objects":         post(`{}{}`),
		"a number as name":    post(`{"name":7}`),
		"min_ram that is big": post(`{"min_ram":99999999999999999999}`),
		"a header of 5 MiB":   c.raw(c.head("GET", "/v2/images", "X-Long: "+huge)),
		"many headers":        c.raw(c.head("GET", "/v2/images", strings.TrimSuffix(strings.Repeat("X-A: b\r\n", 200_000), "\r\n"))),
		"a long path":         c.raw(c.head("GET", "/v2/images/"+huge)),
		"no HTTP":             c.raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
		"two lengths":         c.raw(c.head("POST", "/v2/images", "Content-Length: 2", "Content-Length: 3"), []byte("{}")),
		"a length below zero": c.raw(c.head("POST", "/v2/images", "Content-Length: -2"), []byte("{}")),
		"bad chunks":          c.raw(c.head("POST", "/v2/images", "Transfer-Encoding: chunked"), []byte("zz\r\n{}\r\n0\r\n\r\n")),
		"a path that climbs":  c.raw(c.head("GET", "/v2/images/../../etc/passwd")),
		"an escaped path":     c.raw(c.head("GET", "/v2/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd")),
		"a NUL in the path":   c.raw(c.head("GET", "/v2/images/%00")),
		"bad UTF-8 in a path": c.raw(c.head("GET", "/v2/images/%ff%fe")),
	} {
		c.T.Logf("%s: %d", name, code)
		if code != 0 && (code < 400 || code > 499) {
			c.T.Errorf("%s: status %d", name, code)
		}
	}
	id := c.queue(c.Demo, nil)
	var bomb bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintf(&bomb, `,{"op":"add","path":"/p%d","value":"v"}`, i)
	}
	c.Demo.Call(http.MethodPatch, "/v2/images/"+id, "["+bomb.String()[1:]+"]", "Content-Type", patchKind).Is(400, 413)
	if img := c.Demo.Image(id); img["p0"] != nil {
		c.T.Error("a part of a refused patch was carried out")
	}
	if grown := c.memory() - before; grown > 256<<20 {
		c.T.Errorf("the hub's memory has grown by %d MiB", grown>>20)
	}
}

// badUploads leave nothing: not in a pool, not in the staging area, and the image as it was.
func badUploads(c *cloud) {
	octets := "Content-Type: application/octet-stream"
	for _, where := range []string{"file", "stage"} {
		for name, upload := range map[string]func(path string) int{
			"truncated": func(path string) int {
				conn := c.dial()
				_, _ = io.WriteString(conn, c.head("PUT", path, octets, fmt.Sprintf("Content-Length: %d", len(c.data))))
				_, _ = conn.Write(c.data[:5<<20])
				_ = conn.Close()
				return 400
			},
			"truncated chunks": func(path string) int {
				return c.raw(c.head("PUT", path, octets, "Transfer-Encoding: chunked"), []byte("100000\r\n"), c.data[:1<<20], []byte("\r\nbroken\r\n"))
			},
			"less than it said": func(path string) int {
				return c.Demo.Call(http.MethodPut, path, c.data[:1<<20], "Content-Type", "application/octet-stream", "X-OpenStack-Image-Size", "2097152").Code
			},
			"more than it said": func(path string) int {
				return c.Demo.Call(http.MethodPut, path, c.data[:2<<20], "Content-Type", "application/octet-stream", "X-OpenStack-Image-Size", "1048576").Code
			},
			"a size that is no number": func(path string) int {
				return c.Demo.Call(http.MethodPut, path, c.data[:2<<20], "Content-Type", "application/octet-stream", "X-OpenStack-Image-Size", "big").Code
			},
			"the wrong type": func(path string) int {
				return c.Demo.Call(http.MethodPut, path, c.data[:2<<20], "Content-Type", "text/plain").Code
			},
		} {
			id, before := c.queue(c.Demo, nil), c.leftovers()
			if code := upload("/v2/images/" + id + "/" + where); code != 0 && (code < 400 || code > 499) {
				c.T.Errorf("%s, %s: status %d", where, name, code)
			}
			c.awaits(c.Demo, id, where+", "+name+": the image is queued again", func(img lab.Object) bool {
				return img.Text("status") == "queued" && img["size"] == nil && img["checksum"] == nil
			})
			c.gone(id)
			lab.Eventually(c.T, waitShort, where+", "+name+": nothing stays in the staging area", func() error {
				if left := c.leftovers(); left > before {
					return fmt.Errorf("%d contents, %d before", left, before)
				}
				return nil
			})
			c.Demo.Call(http.MethodPut, "/v2/images/"+id+"/file", c.data, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
			c.drop(c.Demo, id)
			c.gone(id)
		}
	}
}

// slowClients hold connections open and say next to nothing; others are served meanwhile, and the slow ones are cut off.
func slowClients(c *cloud) {
	const slow = 300
	conns := make([]net.Conn, slow)
	for i := range conns {
		conns[i] = c.dial()
		_, err := io.WriteString(conns[i], "GET /v2/images HTTP/1.1\r\nHost: images\r\nX-A: ")
		c.must(err)
	}
	began := time.Now()
	c.Demo.Call(http.MethodGet, "/v2/images?limit=1", nil).Is(http.StatusOK)
	if took := time.Since(began); took > 8*time.Second {
		c.T.Errorf("a request beside slow clients took %s", took)
	}
	// One byte a second keeps none of them alive.
	ended := make(chan error, slow)
	for _, conn := range conns {
		go func() {
			for {
				if _, err := conn.Write([]byte("b")); err != nil {
					ended <- nil
					return
				}
				time.Sleep(time.Second)
				if time.Since(began) > time.Minute {
					ended <- errors.New("a slow client is still connected after a minute")
					return
				}
			}
		}()
	}
	for range slow {
		if err := <-ended; err != nil {
			c.T.Fatal(err)
		}
	}
}

// leftovers returns how many images' data the staging area holds.
func (c *cloud) leftovers() int {
	c.T.Helper()
	entries, err := os.ReadDir(filepath.Join(c.Dir, "hub", "staging", "contents"))
	c.must(err)
	return len(entries)
}
