// Command link is a slow line for benchmarks: a rate that all connections share and a delay, both ways each.
//
//	link --rate 12500000 --delay 50ms --bytes FILE LISTEN=TARGET...   passes TCP connections on until it is told to end
//	link --rate 12500000 --delay 50ms --bytes FILE                    passes standard input to standard output
//
// FILE gets the number of bytes that have passed towards the site so far: from the targets, or from standard input.
// A line holds what is on its way and 256 KiB more; then it takes nothing. It has no loss, and connections do not slow down
// because of the delay: that is kinder than a real line to those who use one connection.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	piece  = 16 << 10
	buffer = 256 << 10
	// burst is how far the line makes up for what it did not send; shorter than that nobody sleeps exactly.
	burst = 20 * time.Millisecond
)

// line is one direction.
type line struct {
	rate  int64 // bytes per second
	delay time.Duration
	moved atomic.Int64

	mu   sync.Mutex
	free time.Time // when the line has sent all it was given
}

// send waits until n more bytes are on the line and returns when they come out at the other end.
func (l *line) send(n int) time.Time {
	l.mu.Lock()
	if earliest := time.Now().Add(-burst); l.free.Before(earliest) {
		l.free = earliest
	}
	l.free = l.free.Add(time.Duration(int64(n) * int64(time.Second) / l.rate))
	sent := l.free
	l.mu.Unlock()
	time.Sleep(time.Until(sent))
	l.moved.Add(int64(n))
	return sent.Add(l.delay)
}

type parcel struct {
	data []byte
	due  time.Time
}

// pass moves bytes until r ends or w fails.
func (l *line) pass(w io.Writer, r io.Reader) error {
	way := make(chan parcel, (l.rate*int64(l.delay)/int64(time.Second)+buffer)/piece)
	stop := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(stop)
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := w.Write(p.data); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for {
		b := make([]byte, piece)
		n, err := r.Read(b)
		if n > 0 {
			select {
			case way <- parcel{b[:n], l.send(n)}:
			case <-stop:
				return <-failed
			}
		}
		if err != nil {
			close(way)
			return <-failed
		}
	}
}

// serve passes connections on; toSite is the direction from the target to who has connected.
func serve(lis net.Listener, target string, fromSite, toSite *line) {
	for {
		c, err := lis.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			t, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer func() { _ = t.Close() }()
			var wg sync.WaitGroup
			wg.Go(func() { _ = fromSite.pass(t, c); _ = t.(*net.TCPConn).CloseWrite() })
			wg.Go(func() { _ = toSite.pass(c, t); _ = c.(*net.TCPConn).CloseWrite() })
			wg.Wait()
		}()
	}
}

func note(file string, l *line) error {
	if file == "" {
		return nil
	}
	// Whoever reads the file meanwhile finds a number in it.
	if err := os.WriteFile(file+".new", []byte(strconv.FormatInt(l.moved.Load(), 10)+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func run(rate int64, delay time.Duration, file string, pairs []string) error {
	if rate < 1 || delay < 0 {
		return errors.New("--rate must be positive and --delay not negative")
	}
	toSite, fromSite := &line{rate: rate, delay: delay}, &line{rate: rate, delay: delay}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	piped := make(chan error, 1)
	if len(pairs) == 0 {
		signal.Ignore(syscall.SIGPIPE) // a reader that was killed is an error of the write, and the figure is still wanted
		go func() { piped <- toSite.pass(os.Stdout, os.Stdin) }()
	}
	for _, p := range pairs {
		from, to, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q is not LISTEN=TARGET", p)
		}
		lis, err := net.Listen("tcp", from)
		if err != nil {
			return err
		}
		defer func() { _ = lis.Close() }()
		go serve(lis, to, fromSite, toSite)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-piped:
			return errors.Join(err, note(file, toSite))
		case <-tick.C:
			if err := note(file, toSite); err != nil {
				return err
			}
		}
	}
}

func main() {
	rate := flag.Int64("rate", 0, "bytes per second, each way")
	delay := flag.Duration("delay", 0, "from one end to the other")
	file := flag.String("bytes", "", "file for the number of bytes")
	flag.Parse()
	if err := run(*rate, *delay, *file, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		os.Exit(1)
	}
}
