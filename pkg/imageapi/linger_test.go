package imageapi

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// A client that reads nothing before it has sent everything learns why it was refused.
func TestRefusedUpload(t *testing.T) {
	defer func(d time.Duration) { lingering = d }(lingering)
	lingering = time.Minute
	b := newBench(t)
	b.router.Handle(http.MethodPut, "/v2/refused", func(http.ResponseWriter, *http.Request) error {
		return fault.New(fault.Conflict, "X", "it has data already")
	})
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewHTTPServer(b.router.Serve(b.options), nil)
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const chunk = 1 << 20
	_, err = io.WriteString(conn, "PUT /v2/refused HTTP/1.1\r\nHost: x\r\nX-Auth-Token: alpha\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := 0; err == nil && i < 32; i++ {
		_, err = conn.Write(append(append([]byte("100000\r\n"), bytes.Repeat([]byte("x"), chunk)...), "\r\n"...))
	}
	if err == nil {
		_, err = io.WriteString(conn, "0\r\n\r\n")
	}
	if err != nil {
		t.Fatalf("the server has closed: %v", err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 409 ")) || !bytes.Contains(got, []byte("it has data already")) {
		t.Errorf("%v: %s", err, got)
	}
}
