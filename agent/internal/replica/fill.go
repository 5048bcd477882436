package replica

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// rounds is how often a copy is written again after it was read back damaged.
const rounds = 3

// fill is one attempt to write, verify and publish a copy.
type fill struct {
	m     *Manager
	j     job
	s     *store
	log   hclog.Logger
	track *tracker
	place *ticket // among the fills of the site

	img    rbd.Image
	sizeMu sync.Mutex
	size   int64            // of the hidden image
	jour   *journal.Journal // nil when it cannot be used
	ledger *ledger          // nil when the store is not asked for sums
	noSums atomic.Bool      // the store cannot sum up chunks of the hidden image
	proved *prometheus.CounterVec
	before bits // chunks that the pool held when the attempt began
	stream *stream
	base   atomic.Pointer[base] // nil: none, or none any more
	baseMu sync.Mutex           // guards named and opened
	named  base                 // by the hub, when base was opened last
	opened []rbd.Snapshot       // of bases
	// accepted is closed when the manifest is complete and its data fits into the store.
	accepted chan struct{}
	man      *manifest.Manifest // set when accepted
	root     manifest.Digest
	sums     []uint64 // what the store should say of the chunks, see comparison

	mu       sync.Mutex
	promised int64 // of store.promise, not yet written
	stuck    bool  // a wait for the hub has been reported
}

// attempt writes, verifies and publishes a copy.
func (f *fill) attempt(ctx context.Context) outcome {
	m, j, track := f.m, f.j, f.track
	defer f.s.writing.keep()()
	began := m.cfg.Now()
	f.log.Info("fill begins", "bytes", j.want.size)
	stop := m.reportProgress(ctx, j, track)
	err := f.run(ctx)
	stop()
	f.close()
	switch {
	case err == nil:
		m.metrics.fills.WithLabelValues(string(j.key.Store), "published").Inc()
		p := track.report()
		f.log.Info("fill published", "bytes", p.BytesTotal, "received", p.BytesReceived, "resumed", p.BytesResumed,
			"saved", p.BytesSaved, "repaired", p.ChunksRepaired, "took", m.cfg.Now().Sub(began))
		return outcome{
			state:        agentv1.ReplicaState_REPLICA_STATE_PRESENT,
			verification: f.proof(),
		}
	case ctx.Err() != nil:
		m.metrics.fills.WithLabelValues(string(j.key.Store), "interrupted").Inc()
		f.log.Info("fill interrupted")
		return outcome{}
	case gone(err):
		m.metrics.fills.WithLabelValues(string(j.key.Store), "gone").Inc()
		f.log.Info("the hub does not have the content, fill waits", "error", err)
		return outcome{
			state: agentv1.ReplicaState_REPLICA_STATE_FILLING, failure: failureOf(err),
			again: jitter(m.pace.gone), onWake: true,
		}
	default:
		m.metrics.fills.WithLabelValues(string(j.key.Store), "failed").Inc()
		return m.failed(ctx, j, err)
	}
}

func (f *fill) run(ctx context.Context) error {
	if err := f.open(ctx); err != nil {
		return err
	}
	if err := f.write(ctx); err != nil {
		return err
	}
	for round := 1; ; round++ {
		if err := f.freeze(ctx); err != nil {
			return err
		}
		damaged, err := f.check(ctx)
		if err != nil {
			return err
		}
		if len(damaged) == 0 {
			break
		}
		if round > rounds {
			return atStore(fault.New(fault.Corrupt, "CORRUPT",
				"%d chunks still differ from the manifest after they were written %d times", len(damaged), round))
		}
		if err := f.repair(ctx, damaged); err != nil {
			return err
		}
	}
	return f.publish(ctx)
}

// reportProgress announces progress now and then, and what is left of it when the returned function is called: what follows
// may wait long for the hub.
func (m *Manager) reportProgress(ctx context.Context, j job, track *tracker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for retry.Sleep(ctx, m.pace.progress) == nil {
			if track.take() {
				m.report(j, func(*replica) {})
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		if track.take() {
			m.report(j, func(*replica) {})
		}
	}
}

// close releases everything but the data.
func (f *fill) close() {
	if f.img != nil {
		_ = f.img.Close()
		f.img = nil
	}
	closeBases(f.opened, f.log)
	f.opened = nil
	if f.jour != nil {
		_ = f.jour.Close()
		f.jour = nil
	}
	f.keepPromise(f.promised)
}

// write brings all chunks of the manifest into the hidden image. It returns when the manifest is complete and has been
// checked, and every chunk is written.
func (f *fill) write(ctx context.Context) error {
	f.stream = &stream{content: f.j.want.content, waiting: f.waiting, flowing: f.flowing}
	f.accepted = make(chan struct{})
	unpromised := int64(0)
	f.stream.added = func(i int) error {
		if f.before.has(i) {
			return nil // takes no more space than it does already
		}
		if unpromised += manifest.ChunkSize; unpromised < promiseStep {
			return nil
		}
		n := unpromised
		unpromised = 0
		return f.promise(ctx, n)
	}
	return f.pump(ctx, func(ctx context.Context) error {
		man, root, err := f.stream.read(ctx, f.m.cfg.Frames, f.m.hubPolicy())
		if err != nil {
			return err
		}
		if err := f.accept(man, root); err != nil {
			return err
		}
		if err := f.promise(ctx, unpromised); err != nil {
			return err
		}
		close(f.accepted)
		return nil
	}, f.plan)
}

// accept checks the whole manifest.
func (f *fill) accept(man *manifest.Manifest, root manifest.Digest) error {
	if err := man.Verify(root, frame.Sum); err != nil {
		return err
	}
	if want := f.m.wantedRoot(f.j); want != (manifest.Digest{}) && want != root {
		return fault.New(fault.Corrupt, "BAD_MANIFEST", "the manifest that the hub sent is not the one that it announced")
	}
	f.man, f.root = man, root
	f.track.setLength(man.Length)
	return nil
}

// wantedRoot returns the root digest that the hub announces now; it may have become known since the step began.
func (m *Manager) wantedRoot(j job) manifest.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.replica.seq != j.seq {
		return j.want.root
	}
	return j.replica.want.root
}

func (m *Manager) hubPolicy() retry.Policy {
	return retry.Policy{Initial: m.pace.hubFirst, Max: m.pace.hubMax}
}

// has reports whether chunk i is known to be in the hidden image.
func (f *fill) has(i int, d manifest.Digest) bool {
	if f.jour == nil || !f.before.has(i) {
		return false
	}
	got, ok := f.jour.Digest(i)
	return ok && got == d
}

// note writes journal and ledger. What cannot be written costs time after a crash, nothing else.
func (f *fill) note(ctx context.Context, i int, d manifest.Digest, sum uint64) {
	if f.jour != nil {
		if err := f.jour.Record(i, d, sum); err != nil {
			f.log.Debug("journal not written", "chunk", i, "error", err)
		}
	}
	if f.ledger.add(i, d, sum) {
		err := f.m.firmly(ctx, f.s, func(ctx context.Context) error { return f.ledger.store(ctx, f.img) })
		if err != nil {
			f.log.Debug("sums not stored with the image", "chunk", i, "error", err)
		}
	}
}

// promiseStep is the number of bytes for which free space is asked at once.
const promiseStep = 256 << 20

// promise checks that n more bytes fit and sets them aside.
func (f *fill) promise(ctx context.Context, n int64) error {
	f.mu.Lock()
	f.promised += n
	f.mu.Unlock()
	return f.s.promise(ctx, n)
}

// keepPromise gives back bytes that have been written or will not be.
func (f *fill) keepPromise(n int64) {
	f.mu.Lock()
	n = min(n, f.promised)
	f.promised -= n
	f.mu.Unlock()
	f.s.release(n)
}

// turn waits until the fill has a place among those of the site, and reports that it waits.
func (f *fill) turn(ctx context.Context) error {
	if err := f.place.wait(ctx, func() { f.waiting(errQueued) }); err != nil {
		return err
	}
	f.flowing()
	return nil
}

// waiting reports that the fill waits for the hub, or for its turn. Without a place it is the turn, also when the hub lets what is
// under way wait.
func (f *fill) waiting(err error) {
	f.mu.Lock()
	defer f.mu.Unlock() // also while it is reported: the latest to know is the latest to say
	if !f.place.has() {
		err = errQueued
	}
	f.stuck = true
	f.log.Debug("waiting", "error", err)
	failure := failureOf(err)
	f.m.report(f.j, func(r *replica) { r.failure = failure })
}

// flowing takes the report of a wait back, unless the fill has no place: then it is what was under way that has arrived.
func (f *fill) flowing() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stuck || !f.place.has() {
		return
	}
	f.stuck = false
	f.m.report(f.j, func(r *replica) { r.failure = nil })
}
