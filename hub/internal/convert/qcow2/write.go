package qcow2

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
)

const (
	mostWorkers = 4 // that read and unpack
	aheadOfSink = 2 // windows beside those that workers have
)

// WriteTo gives the whole disk to a sink, in order: windows of 4 MiB of the disk that have data as they come, everything between
// as zeroes. It reads ahead a few windows, so the source, the unpacking and the sink work at the same time.
//
// It ends when everything is written, with the first error in the order of the disk, or with the cause of ctx. Errors are
// ReasonDamaged (Invalid), or what the source or the sink failed with. When it fails it closes a source that can be closed, so that
// reads ahead do not wait for bytes that nobody wants any more; it returns once they have.
func (i *Image) WriteTo(ctx context.Context, sink convert.Sink) error {
	inner, cancel := context.WithCancel(ctx)
	workers := min(runtime.GOMAXPROCS(0), mostWorkers)
	windows := workers + aheadOfSink
	free, fill, steps := make(chan *window, windows), make(chan *window, windows), make(chan step, 2*windows)
	for range windows {
		free <- &window{filled: make(chan error, 1)}
	}
	var group sync.WaitGroup
	group.Go(func() {
		defer close(fill)
		defer close(steps)
		a := &assembler{ctx: inner, size: i.header.size, cluster: i.header.cluster(), free: free, fill: fill, steps: steps}
		err := (&tables{Image: i}).walk(inner, a)
		if err == nil {
			err = a.flush(i.header.size)
		}
		if err != nil {
			_ = a.send(step{err: err}) // when it cannot be sent, nobody waits for it
		}
	})
	for range workers {
		group.Go(func() {
			f := &filler{Image: i}
			for w := range fill {
				w.filled <- f.fill(inner, w)
			}
		})
	}
	err := write(ctx, sink, steps, free)
	cancel()
	if closer, ok := i.source.(io.Closer); ok && err != nil {
		_ = closer.Close() // the import has failed with something better
	}
	group.Wait()
	return err
}

// write gives steps to the sink until there are no more.
func write(ctx context.Context, sink convert.Sink, steps <-chan step, free chan<- *window) error {
	for {
		var s step
		var more bool
		select {
		case s, more = <-steps:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !more {
			return nil
		}
		if err := s.write(ctx, sink); err != nil {
			return err
		}
		if s.window != nil {
			free <- s.window
		}
	}
}

// write gives one step to the sink.
func (s step) write(ctx context.Context, sink convert.Sink) error {
	switch {
	case s.err != nil:
		return s.err
	case s.window == nil:
		return sink.Zero(s.zero)
	}
	select {
	case err := <-s.window.filled:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	n, err := sink.Write(s.window.buf[:s.window.n])
	if err == nil && n != s.window.n {
		err = fmt.Errorf("the sink took %d of %d bytes", n, s.window.n)
	}
	return err
}
