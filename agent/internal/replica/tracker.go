package replica

import (
	"sync"

	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// tracker counts the progress of one attempt to fill. Safe for concurrent use; nil reports nothing.
type tracker struct {
	mu         sync.Mutex
	hint       int64 // length as announced; 0 when unknown
	length     int64 // exact length; 0 while unknown
	done       bits  // chunks that are safely in the store
	count      int   // number of them
	contiguous int   // number of them from the start without a gap
	received   int64
	resumed    int64
	saved      int64
	repaired   int64
	changed    bool
}

func (t *tracker) setLength(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.length, t.changed = n, true
}

// finish counts chunk i as safely stored; resumed is the number of its bytes that did not have to be sent.
func (t *tracker) finish(i int, resumed int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = true
	t.resumed += resumed
	if t.done.has(i) {
		return
	}
	t.done.add(i)
	t.count++
	for t.done.has(t.contiguous) {
		t.contiguous++
	}
}

// undo takes chunk i back.
func (t *tracker) undo(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done.has(i) {
		t.done.remove(i)
		t.count--
		t.contiguous = min(t.contiguous, i)
		t.changed = true
	}
}

func (t *tracker) receive(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.received += n
	t.changed = t.changed || n > 0
}

// save counts n bytes that did not come over the link.
func (t *tracker) save(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saved += n
}

func (t *tracker) repair() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repaired++
	t.changed = true
}

// take reports whether anything has changed since the latest call.
func (t *tracker) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.changed
	t.changed = false
	return was
}

func (t *tracker) report() *agentv1.Progress {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &agentv1.Progress{
		BytesDone: int64(t.count) * manifest.ChunkSize, BytesTotal: t.length,
		BytesReceived: t.received, BytesResumed: t.resumed, BytesSaved: t.saved, ChunksRepaired: t.repaired, ChunksContiguous: int64(t.contiguous),
	}
	if t.length == 0 {
		p.BytesTotal = t.hint
	}
	if p.BytesTotal > 0 {
		if last := manifest.Count(p.BytesTotal) - 1; t.done.has(last) {
			p.BytesDone -= manifest.ChunkSize - int64(manifest.ChunkLen(p.BytesTotal, last))
		}
	}
	if t.length == 0 && p.BytesDone > p.BytesTotal {
		p.BytesTotal = 0 // the announced length was wrong
	}
	return p
}
