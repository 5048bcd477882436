package rbdtest

import (
	"context"
	"sync"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// Op names an operation of the seam for fault injection.
type Op string

// The operations. Size and Close never fail.
const (
	OpInfo            Op = "info"
	OpList            Op = "list"
	OpRename          Op = "rename"
	OpRemove          Op = "remove"
	OpChildren        Op = "children"
	OpCreate          Op = "create"
	OpOpen            Op = "open"
	OpOpenSnapshot    Op = "open_snapshot"
	OpReadAt          Op = "read_at" // of images and of snapshots
	OpExtents         Op = "extents" // of images and of snapshots
	OpSum             Op = "sum"
	OpMeta            Op = "meta" // of images and of snapshots
	OpWriteAt         Op = "write_at"
	OpZero            Op = "zero"
	OpResize          Op = "resize"
	OpFlush           Op = "flush"
	OpSetMeta         Op = "set_meta"
	OpSnapshotState   Op = "snapshot_state"
	OpCreateSnapshot  Op = "create_snapshot"
	OpRemoveSnapshot  Op = "remove_snapshot"
	OpProtectSnapshot Op = "protect_snapshot"
)

// Faulty wraps a pool and carries out queued faults; without faults it only counts calls. Faults of one operation are
// used up in the order in which they were queued, one per call, whichever image the call is about.
// Safe for concurrent use.
type Faulty struct {
	rbd.Pool

	mu     sync.Mutex
	faults map[Op][]mishap
	calls  map[Op]int
	hooks  map[Op]func(name string)
}

// mishap is what happens to one call. The zero value lets it pass.
type mishap struct {
	before  error // returned without calling the pool
	after   error // returned after the pool did it
	corrupt bool  // WriteAt: one bit of the written bytes is flipped
	drop    bool  // WriteAt: nothing is written, nil is returned
	gate    *Gate
}

// NewFaulty returns pool with fault injection. Closing the wrapper closes the pool.
func NewFaulty(pool rbd.Pool) *Faulty {
	return &Faulty{Pool: pool, faults: map[Op][]mishap{}, calls: map[Op]int{}, hooks: map[Op]func(string){}}
}

// Pass lets the next n calls of op through unharmed, before faults that are queued afterwards.
func (f *Faulty) Pass(op Op, n int) { f.queue(op, n, mishap{}) }

// Fail makes the next n calls of op return err without any effect.
func (f *Faulty) Fail(op Op, n int, err error) { f.queue(op, n, mishap{before: err}) }

// FailAfter makes the next n calls of op take effect and then return err, as when the answer is lost. Handles that such
// calls opened are closed.
func (f *Faulty) FailAfter(op Op, n int, err error) { f.queue(op, n, mishap{after: err}) }

// CorruptWrites flips one bit in the bytes of each of the next n calls of WriteAt, which report success.
// The caller's buffer is left alone.
func (f *Faulty) CorruptWrites(n int) { f.queue(OpWriteAt, n, mishap{corrupt: true}) }

// DropWrites makes the next n calls of WriteAt report success without writing.
func (f *Faulty) DropWrites(n int) { f.queue(OpWriteAt, n, mishap{drop: true}) }

// Block makes the next call of op wait until the gate is released or its context ends.
func (f *Faulty) Block(op Op) *Gate {
	g := &Gate{entered: make(chan struct{}), released: make(chan struct{})}
	f.queue(op, 1, mishap{gate: g})
	return g
}

// Before calls hook at the start of every call of op, with the name of the image ("" for Info and List). Nil removes it.
func (f *Faulty) Before(op Op, hook func(name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[op] = hook
}

// Calls returns how often op was called, faulty calls included.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Queued returns how many faults have not been used up.
func (f *Faulty) Queued() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, q := range f.faults {
		n += len(q)
	}
	return n
}

// Clear forgets all queued faults. Calls that wait at a gate go on waiting.
func (f *Faulty) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.faults)
}

func (f *Faulty) queue(op Op, n int, x mishap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.faults[op] = append(f.faults[op], x)
	}
}

// take counts the call, takes its fault off the queue and carries out what comes before the real call.
func (f *Faulty) take(ctx context.Context, op Op, name string) (mishap, error) {
	f.mu.Lock()
	f.calls[op]++
	var x mishap
	if q := f.faults[op]; len(q) > 0 {
		x, f.faults[op] = q[0], q[1:]
	}
	hook := f.hooks[op]
	f.mu.Unlock()
	if hook != nil {
		hook(name)
	}
	if x.gate != nil {
		if err := x.gate.wait(ctx); err != nil {
			return x, err
		}
	}
	return x, x.before
}

// do runs one call under its fault.
func (f *Faulty) do(ctx context.Context, op Op, name string, call func() error) error {
	x, err := f.take(ctx, op, name)
	if err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return x.after
}

// Gate holds one call back.
type Gate struct {
	entered, released chan struct{}
	once              sync.Once
}

// Entered is closed when a call waits at the gate.
func (g *Gate) Entered() <-chan struct{} { return g.entered }

// Release lets the call go on. Calls after the first do nothing.
func (g *Gate) Release() { g.once.Do(func() { close(g.released) }) }

func (g *Gate) wait(ctx context.Context) error {
	close(g.entered)
	select {
	case <-g.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
