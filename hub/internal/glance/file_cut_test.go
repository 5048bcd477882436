package glance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// A client that goes away at any byte leaves nothing behind, and the image can be uploaded again.
func TestUploadCutAnywhere(t *testing.T) {
	t.Parallel()
	data := random(2*manifest.ChunkSize + 10)
	for _, part := range []string{"file", "stage"} {
		for _, encoding := range []string{"length", "chunked"} {
			for _, at := range []int{0, 1, 4095, manifest.ChunkSize - 1, manifest.ChunkSize, manifest.ChunkSize + 1, 2 * manifest.ChunkSize, len(data) - 1} {
				t.Run(fmt.Sprintf("%s/%s/%d", part, encoding, at), func(t *testing.T) {
					t.Parallel()
					h := newHub(t)
					id := h.create()
					conn, before := h.dial(), h.closed.Load()
					if encoding == "length" {
						h.head(conn, part, id, fmt.Sprintf("Content-Length: %d", len(data)))
						h.send(conn, data[:at])
					} else {
						h.head(conn, part, id, "Transfer-Encoding: chunked")
						h.send(conn, fmt.Appendf(nil, "%x\r\n", len(data)))
						h.send(conn, data[:at])
					}
					_ = conn.Close()
					h.until("the upload has ended", func() bool { return h.closed.Load() > before })
					h.wantNothing(id)
					h.want(http.StatusNoContent, "PUT", path(id, part), bytes.NewReader(data), octets()...)
				})
			}
		}
	}
}

// A body in chunks whose last chunk never comes is not whole, even if its length is right.
func TestUploadWithoutLastChunk(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create()
	conn := h.dial()
	h.head(conn, "file", id, "Transfer-Encoding: chunked")
	h.send(conn, []byte("4\r\ndata\r\n"))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if code := h.status(conn); code != http.StatusBadRequest {
		t.Fatalf("got %d", code)
	}
	h.wantNothing(id)
}

// dial connects to the hub.
func (h *hub) dial() net.Conn {
	h.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(h.t.Context(), "tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// head sends the head of an upload.
func (h *hub) head(conn net.Conn, part string, id image.ID, length string) {
	h.t.Helper()
	h.send(conn, fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: hub\r\nX-Auth-Token: alice\r\nContent-Type: application/octet-stream\r\n%s\r\n\r\n",
		path(id, part), length))
}

func (h *hub) send(conn net.Conn, b []byte) {
	h.t.Helper()
	if _, err := conn.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

// status reads an answer.
func (h *hub) status(conn net.Conn) int {
	h.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// An upload whose client is silent ends as soon as the image is deleted: nothing waits for the client.
func TestDeleteDuringSilentUpload(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"file", "stage"} {
		for _, sent := range []int{0, 1, manifest.ChunkSize + 1} {
			t.Run(fmt.Sprintf("%s/%d", part, sent), func(t *testing.T) {
				t.Parallel()
				h := newHub(t)
				id := h.create()
				conn := h.dial()
				h.head(conn, part, id, fmt.Sprintf("Content-Length: %d", 3*manifest.ChunkSize))
				h.send(conn, random(sent))
				h.until("the upload runs", func() bool { return h.show(id)["status"] != "queued" })
				h.want(http.StatusNoContent, "DELETE", "/v2/images/"+string(id), nil)
				begin := time.Now()
				if code := h.status(conn); code != http.StatusGone {
					t.Fatalf("got %d", code)
				}
				if took := time.Since(begin); took > 30*time.Second {
					t.Fatalf("the answer took %s", took)
				}
				h.wantNoData(id)
			})
		}
	}
}
