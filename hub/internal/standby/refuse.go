package standby

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	answerTime = 5 * time.Second // for everything that a refusal takes
	drainBytes = 256 << 10       // of a request that are read so that its sender sees the answer
)

const sorry = "no hub leads at the moment; try again in a few seconds\n"

// unavailable is the answer to one request while nobody leads.
var unavailable = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Connection: close\r\nContent-Length: " + strconv.Itoa(len(sorry)) + "\r\n\r\n" + sorry

// refuse answers the request of a client of the Image API.
func (p *Port) refuse(raw *net.TCPConn) {
	_ = raw.SetDeadline(time.Now().Add(answerTime))
	var c interface {
		io.ReadWriter
		CloseWrite() error
	} = raw
	if p.f.ImageTLS != nil {
		c = tls.Server(raw, p.f.ImageTLS)
	}
	head := io.LimitReader(c, drainBytes)
	if _, err := http.ReadRequest(bufio.NewReader(head)); err != nil {
		return
	}
	if _, err := io.WriteString(c, unavailable); err == nil && c.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, head)
	}
}
