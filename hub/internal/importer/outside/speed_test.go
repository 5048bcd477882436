package outside

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limited is a connection that sends at most so many bytes per second.
type limited struct {
	net.Conn
	rate  int
	mu    sync.Mutex
	ready time.Time
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := 0; n < len(p); {
		step := p[n:min(len(p), n+64<<10)]
		if pause := time.Until(l.ready); pause > 0 {
			<-time.After(pause)
		} else {
			l.ready = time.Now()
		}
		l.ready = l.ready.Add(time.Duration(len(step)) * time.Second / time.Duration(l.rate))
		m, err := l.Conn.Write(step)
		if n += m; err != nil {
			return n, err
		}
	}
	return len(p), nil
}

type limiter struct {
	net.Listener
	rate int
}

func (l limiter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.rate == 0 {
		return c, err
	}
	return &limited{Conn: c, rate: l.rate}, nil
}

// BenchmarkFetch compares one connection with several, at a server that limits each and at one that does not. The CPU is that of
// both ends.
func BenchmarkFetch(b *testing.B) {
	data := random(256<<20, 9)
	for _, rate := range []int{20 << 20, 0} {
		s := &parts{data: data, etag: `"a"`}
		l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(limiter{l, rate}) }()
		for _, connections := range []int{1, 2, 4, 8} {
			b.Run("rate="+strconv.Itoa(rate>>20)+"/connections="+strconv.Itoa(connections), func(b *testing.B) {
				client := newClient(b, func(o *Options) { o.Connections = connections })
				b.SetBytes(int64(len(data)))
				before := cpu(b)
				for b.Loop() {
					body, err := client.Open(b.Context(), Request{URI: "http://" + l.Addr().String()})
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{body}, make([]byte, 4<<20)); err != nil || n != int64(len(data)) {
						b.Fatal(n, err)
					}
					_ = body.Close()
				}
				b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N)/float64(len(data))*(1<<30), "cpu-ms/GiB")
			})
		}
		_ = server.Close()
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
