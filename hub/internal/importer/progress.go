package importer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Phase is what is done with the data of an import.
type Phase int32

// The phases.
const (
	PhaseNone       Phase = iota // nothing (any more)
	PhaseQueued                  // it waits for its turn
	PhaseReceiving               // it comes in and is stored as it comes
	PhaseBoth                    // it comes in, and the disk in it is read at the same time
	PhaseConverting              // all of it has come, and the disk in it is read
)

// Progress says how far an import is.
type Progress struct {
	Phase     Phase
	Received  int64 // bytes that have come from the source
	Expected  int64 // bytes that will have come; 0: unknown
	Rate      int64 // bytes that came per second during the last seconds
	DiskDone  int64 // bytes of the disk that have been made of the data; 0 when it is stored as it comes
	DiskTotal int64 // bytes of that disk; 0: unknown
}

// arrival is data that is coming in. The atomic fields may be read at any time; the others never change, except next,
// which belongs to the goroutine that stores.
type arrival struct {
	received  atomic.Int64 // bytes as they come
	expected  atomic.Int64 // bytes that were announced; 0: unknown
	stored    atomic.Int64 // bytes of the content so far, zeroes included
	diskTotal atomic.Int64 // bytes of the disk that is made; 0: none, or unknown
	phase     atomic.Int32
	speed     speed

	image   image.ID
	project string
	staged  bool
	copies  int64 // stores that the data is for; 1 when it is staged
	next    int64 // length at which the project's usage is added up again
}

// arrive counts the bytes that have come in all.
func (a *arrival) arrive(n int64) {
	a.received.Store(n)
	a.speed.add(n)
}

func (a *arrival) enter(p Phase) { a.phase.Store(int32(p)) }

// Progress returns how far an import or a stage is. It does not block.
func (im *Importer) Progress(op image.ID) Progress {
	im.mu.Lock()
	a := im.incoming[op]
	im.mu.Unlock()
	if a == nil {
		if o, _ := im.Catalog.Read().Operation(op); o != nil && catalog.Importing(o) && o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT {
			return Progress{Phase: PhaseQueued}
		}
		return Progress{}
	}
	p := Progress{
		Phase: Phase(a.phase.Load()), Received: a.received.Load(), Expected: a.expected.Load(), DiskTotal: a.diskTotal.Load(),
	}
	if p.Phase == PhaseBoth || p.Phase == PhaseConverting {
		p.DiskDone = a.stored.Load()
	}
	if p.Phase != PhaseConverting {
		p.Rate = a.speed.rate()
	}
	return p
}

// The rate is that of the last rateSpan, looked at every rateStep.
const (
	rateSpan = 5 * time.Second
	rateStep = rateSpan / 5
)

// speed measures how fast a count grows.
type speed struct {
	now   func() time.Time
	mu    sync.Mutex
	marks []mark // oldest first, at least rateStep apart, the last one excepted
}

// mark is the count at one time.
type mark struct {
	at time.Time
	n  int64
}

// add tells what the count is now.
func (s *speed) add(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.trim(now)
	if last := len(s.marks) - 1; last > 0 && now.Sub(s.marks[last-1].at) < rateStep {
		s.marks[last] = mark{now, n}
		return
	}
	s.marks = append(s.marks, mark{now, n})
}

// trim forgets what is too long ago, except the last of it. Lock held.
func (s *speed) trim(now time.Time) {
	for len(s.marks) > 1 && now.Sub(s.marks[1].at) >= rateSpan {
		s.marks = s.marks[1:]
	}
}

// rate returns by how much the count has grown per second.
func (s *speed) rate() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.trim(now)
	if len(s.marks) == 0 {
		return 0
	}
	first, last := s.marks[0], s.marks[len(s.marks)-1]
	span := now.Sub(first.at)
	if span <= 0 {
		return 0
	}
	return int64(float64(last.n-first.n) / span.Seconds())
}
