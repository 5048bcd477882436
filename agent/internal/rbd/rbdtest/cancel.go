package rbdtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// testContextDone calls everything with a context that has ended: nothing happens.
func testContextDone(e *env) {
	content := pattern(1, 2000)
	e.publish("published", content)
	img := e.create("image", 2*chunk)
	e.write(img, content, 0)
	snap := e.openSnapshot("published")
	live := e.ctx
	ctx, cancel := context.WithCancel(live)
	cancel()

	nothing := func(int64, int64) error { return errors.New("an extent was reported") }
	opened := func(h rbd.Reader, err error) error {
		if err == nil {
			_ = h.Close()
		}
		return err
	}
	for what, call := range map[string]func() error{
		"info":     func() error { _, err := e.pool.Info(ctx); return err },
		"list":     func() error { _, err := e.pool.List(ctx); return err },
		"rename":   func() error { return e.pool.Rename(ctx, e.name("published"), e.name("x")) },
		"remove":   func() error { return e.pool.Remove(ctx, e.name("published")) },
		"children": func() error { _, err := e.pool.Children(ctx, e.name("published")); return err },
		"create":   func() error { h, err := e.pool.Create(ctx, e.name("new"), chunk); return opened(h, err) },
		"open":     func() error { h, err := e.pool.Open(ctx, e.name("published")); return opened(h, err) },
		"open snapshot": func() error {
			h, err := e.pool.OpenSnapshot(ctx, e.name("published"))
			return opened(h, err)
		},
		"read":             func() error { return img.ReadAt(ctx, make([]byte, 10), 0) },
		"read snapshot":    func() error { return snap.ReadAt(ctx, make([]byte, 10), 0) },
		"extents":          func() error { return img.Extents(ctx, nothing) },
		"snapshot extents": func() error { return snap.Extents(ctx, nothing) },
		"write":            func() error { return img.WriteAt(ctx, pattern(2, 10), 0) },
		"zero":             func() error { return img.Zero(ctx, 0, 10) },
		"resize":           func() error { return img.Resize(ctx, chunk) },
		"flush":            func() error { return img.Flush(ctx) },
		"meta":             func() error { _, err := img.Meta(ctx, "k"); return err },
		"snapshot meta":    func() error { _, err := snap.Meta(ctx, "k"); return err },
		"set meta":         func() error { return img.SetMeta(ctx, "k", "v") },
		"snapshot state":   func() error { _, _, err := img.SnapshotState(ctx); return err },
		"create snapshot":  func() error { return img.CreateSnapshot(ctx) },
		"protect":          func() error { return img.ProtectSnapshot(ctx) },
		"remove snapshot":  func() error { return img.RemoveSnapshot(ctx) },
	} {
		e.wantCancelled(what, call())
	}
	e.wantNames("image", "published")
	e.wantBytes(img, 0, content)
	if img.Size() != 2*chunk {
		e.Errorf("size is %d", img.Size())
	}
	e.wantSnapshot(img, false, false)
	if value, err := img.Meta(live, "k"); err != nil || value != "" {
		e.Errorf("meta is %q (%v)", value, err)
	}
}

// prompt bounds how long a call may go on after its context ended. The timeouts of the storage are longer.
const prompt = 20 * time.Second

// testContextEndsInCall ends the context of calls that are blocked in the storage. They return at once, and the memory they
// were given belongs to the caller again: nothing of what is put there later reaches the image, and no late answer lands in
// it.
func testContextEndsInCall(e *env) {
	if e.opts.Stall == nil {
		e.Skip("the driver has no hook to stall its storage")
	}
	const length = 1 << 20
	img := e.create("image", 4*chunk)
	before := pattern(1, length)
	e.write(img, before, 0)
	e.write(img, before, chunk)
	e.ok("flush", img.Flush(e.ctx))

	resume := e.opts.Stall(e.T)
	defer resume()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	written, readInto := pattern(2, length), make([]byte, length)
	calls := map[string]func() error{
		"write": func() error { return img.WriteAt(ctx, written, chunk) },
		"read":  func() error { return img.ReadAt(ctx, readInto, 0) },
		"list":  func() error { _, err := e.pool.List(ctx); return err },
		"info":  func() error { _, err := e.pool.Info(ctx); return err },
	}
	type result struct {
		what string
		err  error
	}
	results := make(chan result, len(calls))
	for what, call := range calls {
		go func() { results <- result{what, call()} }()
	}
	select {
	case r := <-results:
		e.Fatalf("%s returned while the storage was stalled: %v", r.what, r.err)
	case <-time.After(500 * time.Millisecond): // long enough for all of them to be inside of the storage's library
	}
	cancel()
	deadline := time.After(prompt)
	for range calls {
		select {
		case r := <-results:
			e.wantCancelled(r.what, r.err)
		case <-deadline:
			e.Fatalf("calls did not return within %v after their context ended", prompt)
		}
	}
	poison := bytes.Repeat([]byte{0xAA}, length)
	copy(written, poison)
	copy(readInto, poison)
	resume()

	settled, stop := context.WithTimeout(e.ctx, e.opts.Settle)
	defer stop()
	got := make([]byte, length)
	if err := img.ReadAt(settled, got, 2*chunk); err != nil {
		e.Fatalf("the storage did not recover: %v", err)
	}
	e.ok("flush", img.Flush(settled)) // behind the abandoned write
	e.ok("read", img.ReadAt(settled, got, chunk))
	if !slices.Equal(got, before) && !slices.Equal(got, pattern(2, length)) {
		e.Error("the abandoned write wrote something that it was not given")
	}
	if !slices.Equal(readInto, poison) {
		e.Error("the abandoned read wrote into memory after it had returned")
	}
	e.wantBytes(img, 0, before)
}

func testClose(e *env) {
	e.publish("image", pattern(1, 1000))
	img, snap := e.open("image"), e.openSnapshot("image")
	for range 3 {
		e.ok("close", img.Close())
		e.ok("close snapshot", snap.Close())
	}
	if err := img.ReadAt(e.ctx, make([]byte, 1), 0); err == nil {
		e.Error("a closed image can be read")
	}
	if err := img.WriteAt(e.ctx, make([]byte, 1), 0); err == nil {
		e.Error("a closed image can be written")
	}
	if err := snap.ReadAt(e.ctx, make([]byte, 1), 0); err == nil {
		e.Error("a closed snapshot can be read")
	}
	again := e.openSnapshot("image") // others are not touched
	e.wantBytes(again, 0, pattern(1, 1000))
	e.ok("close", again.Close())
	e.removeAll()
	for range 2 {
		e.ok("close the pool", e.pool.Close())
	}
}
