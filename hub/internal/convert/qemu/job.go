package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/convert/nbd"
	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// errTime is the cause of the end of a conversion that takes too long.
var errTime = errors.New("qemu-img has had its time")

// job is one conversion.
type job struct {
	c      *Converter
	cell   *sandbox.Sandbox
	format string
	args   []string
	size   int64
	src    *source
	disk   *disk
	time   *patience
}

// source remembers why the image could not be read.
type source struct {
	convert.Source
	failed error
}

// ReadAt implements io.ReaderAt. Only one goroutine may use it.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.Source.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// run starts qemu-img and serves it until it is gone.
func (j *job) run(ctx context.Context) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cpu, wall := j.c.o.times(j.disk.size)

	var exports [3]nbd.Export
	j.time = begin(wall, func() { cancel(errTime) })
	defer j.time.end()
	image, size, err := open(j.format, j.src, j.size)
	if err != nil {
		return j.outcome(sandbox.Result{}, nil, nil, []error{err}, cpu)
	}
	exports[0] = nbd.Export{Size: size, Reader: reader{image, j.time}}
	exports[1] = nbd.Export{Size: sector, Reader: bytes.NewReader(mark)}
	exports[2] = nbd.Export{Size: j.disk.end() + sector, Writer: writer{j.disk, j.time}}

	var theirs []*os.File
	defer func() { closeAll(theirs) }()
	var serving sync.WaitGroup
	errs := make([]error, len(exports))
	for i, e := range exports {
		ours, file, err := pair()
		if err != nil {
			cancel(err)
			serving.Wait()
			return err
		}
		theirs = append(theirs, file)
		stop := context.AfterFunc(ctx, func() { _ = ours.Close() })
		serving.Go(func() {
			defer func() { _ = ours.Close() }()
			defer stop()
			if errs[i] = nbd.Serve(ours, e); errs[i] != nil && !errors.Is(errs[i], nbd.ErrGone) {
				cancel(errs[i]) // nothing that follows is of use
			}
		})
	}
	result, err := j.cell.Run(ctx, j.args, theirs, sandbox.Limits{Memory: j.c.o.Memory, CPU: cpu})
	cause := context.Cause(ctx) // before the end of this function becomes one
	closeAll(theirs)            // the servers see the end of their connections now
	theirs = nil
	serving.Wait()
	if parent.Err() != nil {
		return context.Cause(parent)
	}
	return j.outcome(result, err, cause, errs, cpu)
}

// outcome says what has become of a conversion.
func (j *job) outcome(r sandbox.Result, err, cause error, served []error, cpu time.Duration) error {
	switch {
	case j.src.failed != nil:
		return j.src.failed
	case j.disk.failed != nil:
		return j.disk.failed
	case errors.Is(cause, errTime):
		return j.ended("time", r, cause)
	case err != nil:
		return fmt.Errorf("start qemu-img: %w", err)
	}
	for _, err := range served {
		if err != nil && !errors.Is(err, nbd.ErrGone) {
			return j.damaged(r, err)
		}
	}
	switch {
	case r.OK() && j.disk.whole():
		return nil
	case r.CPU+time.Second >= cpu && r.Signal != 0:
		return j.ended("processor time", r, nil)
	case r.Signal == syscall.SIGKILL || outOfMemory(r.Stderr): // the first is the kernel's when the machine has no memory left
		return j.ended("memory", r, nil)
	case !r.OK():
		return j.damaged(r, nil)
	default:
		return j.damaged(r, fmt.Errorf("the disk ended after %d bytes of %d", j.disk.done+j.disk.zeroes, j.disk.size))
	}
}

// outOfMemory reports whether a text that qemu-img or a library of it has left says so.
func outOfMemory(text string) bool {
	text = strings.ToLower(text)
	for _, sign := range []string{"allocate", "out of memory", "memory exhausted"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// ended is the error of a conversion that has reached a limit.
func (j *job) ended(limit string, r sandbox.Result, cause error) error {
	j.log("conversion has reached a limit", r, cause, "limit", limit)
	return fault.Wrap(cause, fault.Exhausted, convert.ReasonLimit,
		"the image needs more %s to be converted from %s than one conversion may have", limit, j.format)
}

// damaged is the error of an image that qemu-img cannot read.
func (j *job) damaged(r sandbox.Result, cause error) error {
	j.log("image cannot be converted", r, cause)
	return fault.Wrap(cause, fault.Invalid, convert.ReasonDamaged,
		"the image cannot be converted: its data is damaged, or uses something of %s that is not supported", j.format)
}

func (j *job) log(what string, r sandbox.Result, cause error, more ...any) {
	j.c.log.Warn(what, append(more, "format", j.format, "size", j.disk.size, "written", j.disk.done, "state", r.State, "cpu", r.CPU,
		"stderr", r.Stderr, "cause", cause)...)
}

// pair returns the two ends of a connection.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "hub"), os.NewFile(uintptr(fds[1]), "qemu-img")
	conn, err := net.FileConn(ours) // a copy
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// reader and writer stop the time while the hub works.
type reader struct {
	io.ReaderAt
	time *patience
}

// ReadAt implements io.ReaderAt.
func (r reader) ReadAt(p []byte, off int64) (int, error) {
	r.time.enter()
	defer r.time.leave()
	return r.ReaderAt.ReadAt(p, off)
}

type writer struct {
	*disk
	time *patience
}

// WriteAt implements nbd.Writer.
func (w writer) WriteAt(p []byte, off int64) (int, error) {
	w.time.enter()
	defer w.time.leave()
	return w.disk.WriteAt(p, off)
}

// ZeroAt implements nbd.Writer.
func (w writer) ZeroAt(n, off int64) error {
	w.time.enter()
	defer w.time.leave()
	return w.disk.ZeroAt(n, off)
}
