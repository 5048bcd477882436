// Package rbdtest has the conformance suite that every driver of package rbd passes, and a pool with injected faults for
// the tests of those who use the seam.
package rbdtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Options says what a driver under test is and can.
type Options struct {
	// Driver is what Driver must return.
	Driver string
	// NoSums says that the driver cannot sum up chunks.
	NoSums bool
	// Clone makes a copy-on-write clone of the image's protected snapshot by means outside of the seam.
	Clone func(t *testing.T, image string) Clone
	// Stall makes the storage stop answering and returns what makes it answer again; calls must not time out by themselves for
	// a minute. Nil when the driver has no such hook.
	Stall func(t *testing.T) (resume func())
	// Settle bounds how long the storage may need to answer again after a stall. Used with Stall only.
	Settle time.Duration
}

// Clone is a copy-on-write clone of an image's snapshot.
type Clone struct {
	Read   func(t *testing.T, length int) []byte // the first bytes of the clone
	Delete func(t *testing.T)
}

// chunk is the unit of Extents. It is spelled out here so that the suite does not share a constant with the drivers.
const chunk = 4 << 20

// Run runs the whole suite. open returns a pool that is closed by its own cleanup; pools of different calls may be the same
// store. The suite uses names of its own and removes them.
func Run(t *testing.T, open func(t *testing.T) rbd.Pool, opts Options) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*env)
	}{
		{"Info", testInfo},
		{"Create", testCreate},
		{"Open", testOpen},
		{"List", testList},
		{"Rename", testRename},
		{"RenameRace", testRenameRace},
		{"Remove", testRemove},
		{"RemoveInUse", testRemoveInUse},
		{"ReadWrite", testReadWrite},
		{"Bounds", testBounds},
		{"Zero", testZero},
		{"Resize", testResize},
		{"ConcurrentWrites", testConcurrentWrites},
		{"Extents", testExtents},
		{"ExtentsStop", testExtentsStop},
		{"Snapshot", testSnapshot},
		{"SnapshotRanges", testSnapshotRanges},
		{"SnapshotFreezes", testSnapshotFreezes},
		{"Sums", testSums},
		{"Meta", testMeta},
		{"Children", testChildren},
		{"RemoveWithClone", testRemoveWithClone},
		{"ContextDone", testContextDone},
		{"ContextEndsInCall", testContextEndsInCall},
		{"Close", testClose},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(newEnv(t, open(t), opts)) })
	}
}

// env is what one part of the suite works with.
type env struct {
	*testing.T
	ctx    context.Context //nolint:containedctx // it is the test's, as T is
	pool   rbd.Pool
	opts   Options
	prefix string
}

func newEnv(t *testing.T, pool rbd.Pool, opts Options) *env {
	t.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:])
	e := &env{T: t, ctx: t.Context(), pool: pool, opts: opts, prefix: "rbdtest-" + hex.EncodeToString(b[:]) + "-"}
	t.Cleanup(e.removeAll)
	return e
}

// removeAll removes what the part left behind; errors are not the suite's business any more.
func (e *env) removeAll() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 30*time.Second)
	defer cancel()
	names, err := e.pool.List(ctx)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, e.prefix) {
			_ = e.pool.Remove(ctx, name)
		}
	}
}

// name returns an image name that no other run uses.
func (e *env) name(s string) string { return e.prefix + s }

// create makes an image that is closed at the end of the test.
func (e *env) create(s string, size int64) rbd.Image {
	e.Helper()
	img, err := e.pool.Create(e.ctx, e.name(s), size)
	if err != nil {
		e.Fatalf("create %s: %v", s, err)
	}
	e.Cleanup(func() { _ = img.Close() })
	return img
}

func (e *env) open(s string) rbd.Image {
	e.Helper()
	img, err := e.pool.Open(e.ctx, e.name(s))
	if err != nil {
		e.Fatalf("open %s: %v", s, err)
	}
	e.Cleanup(func() { _ = img.Close() })
	return img
}

func (e *env) openSnapshot(s string) rbd.Snapshot {
	e.Helper()
	snap, err := e.pool.OpenSnapshot(e.ctx, e.name(s))
	if err != nil {
		e.Fatalf("open the snapshot of %s: %v", s, err)
	}
	e.Cleanup(func() { _ = snap.Close() })
	return snap
}

// publish makes an image with content and a protected snapshot, with no handle left open.
func (e *env) publish(s string, content []byte) {
	e.Helper()
	img := e.create(s, int64(len(content)))
	e.write(img, content, 0)
	e.ok("flush", img.Flush(e.ctx))
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.ok("protect snapshot", img.ProtectSnapshot(e.ctx))
	e.ok("close", img.Close())
}

func (e *env) write(img rbd.Image, p []byte, off int64) {
	e.Helper()
	if err := img.WriteAt(e.ctx, p, off); err != nil {
		e.Fatalf("write %d bytes at %d: %v", len(p), off, err)
	}
}

func (e *env) read(r rbd.Reader, off int64, n int) []byte {
	e.Helper()
	p := bytes.Repeat([]byte{0xEE}, n) // must be overwritten, also by zeroes
	if err := r.ReadAt(e.ctx, p, off); err != nil {
		e.Fatalf("read %d bytes at %d: %v", n, off, err)
	}
	return p
}

// wantBytes fails unless the range reads as want.
func (e *env) wantBytes(r rbd.Reader, off int64, want []byte) {
	e.Helper()
	got := e.read(r, off, len(want))
	for i := range want {
		if got[i] != want[i] {
			e.Fatalf("byte %d is %#x, want %#x", off+int64(i), got[i], want[i])
		}
	}
}

func (e *env) ok(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

// wantFault fails unless err is of the class and, when reason is not empty, has the reason.
func (e *env) wantFault(what string, err error, class fault.Class, reason string) {
	e.Helper()
	if err == nil {
		e.Fatalf("%s succeeded, want %v %s", what, class, reason)
	}
	if _, ok := fault.As(err); !ok || fault.ClassOf(err) != class {
		e.Fatalf("%s: error %q is of class %v, want %v", what, err, fault.ClassOf(err), class)
	}
	if reason != "" && fault.ReasonOf(err) != reason {
		e.Fatalf("%s: error %q has reason %s, want %s", what, err, fault.ReasonOf(err), reason)
	}
}

func (e *env) wantCancelled(what string, err error) {
	e.Helper()
	if !errors.Is(err, context.Canceled) {
		e.Fatalf("%s: %v, want %v", what, err, context.Canceled)
	}
}

// pattern returns n bytes that depend on the seed and on their place, none of them zero.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x>>24) | 1
	}
	return p
}
