package imageapi

import (
	"io"
	"net/http"
	"time"
)

// What a client is let send after its request has been refused. Clients such as python-glanceclient read no answer before
// they have sent all of an upload: closed on, they report a broken connection in the place of the reason.
const mostUnasked = 1 << 30

var lingering = 10 * time.Second // longer in tests

// linger sends the answer and then reads what the caller still sends, for a while. Callers that wait for 100 Continue, and
// those that nobody knows, get the answer only.
func (e *exchange) linger(r *http.Request) {
	if e.caller == nil || r.Body == nil || r.Body == http.NoBody || r.Header.Get("Expect") != "" {
		return
	}
	control := http.NewResponseController(e)
	if control.Flush() != nil {
		return
	}
	end := time.Now().Add(lingering)
	stop := time.AfterFunc(lingering, func() { _ = control.SetReadDeadline(end) }) // ends a read that waits
	defer stop.Stop()
	for n := int64(0); n < mostUnasked && time.Now().Before(end); {
		m, err := io.CopyN(io.Discard, r.Body, 1<<20)
		if n += m; err != nil {
			return
		}
	}
}
