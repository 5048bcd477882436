package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// A request that cannot be passed on, which anybody can send, says nothing about the hub: others are still passed.
func TestRequestsThatCannotBePassed(t *testing.T) {
	t.Parallel()
	hub := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(hub.Close)
	for name, headers := range map[string]string{
		"a trailer without a name": "Transfer-Encoding: chunked\r\nTrailer: no name\r\n\r\n0\r\n\r\n",
		"an upgrade to nothing":    "Connection: Upgrade\r\nUpgrade: \x80\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hubAt(t, hub.URL, nil)
			site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := h.pass(w, r, call{patience: longer.read, fallback: true}); err != nil {
					http.Error(w, err.Error(), imageapi.StatusOf(err))
				}
			}))
			defer site.Close()
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", site.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := fmt.Fprintf(c, "DELETE /v2/x HTTP/1.1\r\nHost: site\r\n%s", headers); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode >= http.StatusInternalServerError {
				t.Errorf("answered %s", answer.Status)
			}
			if err := h.ready(true); err != nil {
				t.Errorf("the hub counts as away: %v", err)
			}
		})
	}
}
