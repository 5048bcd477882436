package qemu

import (
	"cmp"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// leastMemory is what qemu-img needs to start at all.
const leastMemory = 128 << 20

// Converter runs qemu-img. It is safe for concurrent use.
type Converter struct {
	o    Options
	log  hclog.Logger
	room chan struct{} // one for each running conversion

	mu   sync.Mutex
	cell *sandbox.Sandbox // nil until it was needed and made
}

// New returns a converter. It starts nothing: qemu-img may be installed later. The error is Invalid.
func New(o Options) (*Converter, error) {
	o.Program, o.Memory, o.Most = cmp.Or(o.Program, DefaultProgram), cmp.Or(o.Memory, DefaultMemory), cmp.Or(o.Most, DefaultMost)
	switch {
	case o.Memory < leastMemory:
		return nil, fault.BadField("qemu-memory", "qemu-img needs 128MiB or more")
	case o.CPU < 0 || o.Time < 0:
		return nil, fault.BadField("qemu-time", "must not be below 0")
	case o.Most < 0:
		return nil, fault.BadField("qemu-conversions", "must not be below 0")
	}
	return &Converter{o: o, log: o.Log, room: make(chan struct{}, o.Most)}, nil
}

// Check returns an error, which is Precondition with ReasonNoConverter, when qemu-img is not there.
func (c *Converter) Check() error {
	_, err := c.path()
	return err
}

// path returns where qemu-img is.
func (c *Converter) path() (string, error) {
	path, err := exec.LookPath(c.o.Program)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", noConverter(err)
	}
	return path, nil
}

func noConverter(err error) error {
	var names []string
	for _, name := range Formats() {
		if name != "qcow2" { // which the hub reads itself
			names = append(names, name)
		}
	}
	return fault.Wrap(err, fault.Precondition, convert.ReasonNoConverter,
		"images of the formats %s are converted with qemu-img, which this hub does not have; convert the image to raw or qcow2 before",
		strings.Join(names, ", "))
}

// sandbox returns the sandbox of qemu-img, and makes it first if need be.
func (c *Converter) sandbox(ctx context.Context) (*sandbox.Sandbox, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cell != nil {
		return c.cell, nil
	}
	path, err := c.path()
	if err != nil {
		return nil, err
	}
	cell, err := sandbox.Open(ctx, path, []string{"--version"}, c.o.User, sandbox.Limits{Memory: c.o.Memory, CPU: time.Minute}, c.log)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.log.Error("qemu-img does not run in the sandbox", "error", err)
		return nil, noConverter(err)
	}
	c.cell = cell
	return cell, nil
}

// Convert reads an image of a format, of which src has size bytes, and writes its disk of exactly virtual bytes, as the inspector
// has found, to the sink. It waits for its turn, blocks while src and sink do and until qemu-img is gone, and ends with ctx, whose
// cause it returns then; src and sink must end then too. It reads src up to its end more or less in order, but needs all of it.
//
// Errors of src and sink are returned as they are. Others are Precondition (ReasonNoConverter), Exhausted (ReasonLimit), or
// Invalid (ReasonDamaged); what qemu-img says is logged only.
func (c *Converter) Convert(ctx context.Context, format string, src convert.Source, size, virtual int64, sink convert.Sink) error {
	args, err := arguments(format)
	if err != nil {
		return err
	}
	if size < 0 || virtual < 0 {
		return errors.New("an image of less than nothing")
	}
	select {
	case c.room <- struct{}{}:
		defer func() { <-c.room }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	cell, err := c.sandbox(ctx)
	if err != nil {
		return err
	}
	j := &job{
		c: c, cell: cell, format: format, args: args, size: size,
		src: &source{Source: src}, disk: &disk{sink: sink, size: virtual},
	}
	return j.run(ctx)
}
