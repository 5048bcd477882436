package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// What one message may hold. A single goal is far smaller: etcd bounds the record that its metadata comes from.
const (
	batch      = 500     // replicas
	batchBytes = 1 << 20 // their encoded length; far below gRPC's limit
)

// silences is how many heartbeat intervals a link may stay silent before it counts as dead.
const silences = 3

// session is one agent's stream. One goroutine reads, one writes; both end with the stream.
type session struct {
	service   *Service
	site      image.SiteID
	epoch     uint64
	accepted  map[image.StoreID]bool
	stream    agentv1.SessionService_ConnectServer
	ctx       context.Context
	cancel    context.CancelCauseFunc
	expires   time.Time    // of the agent's certificate; zero: never
	strangers atomic.Int64 // reported replicas that the catalog does not name
	woken     chan struct{}
	heard     chan struct{} // a heartbeat arrived and wants its answer

	mu    sync.Mutex
	all   bool // start with a snapshot
	dirty map[key]struct{}
}

func newSession(s *Service, id image.SiteID, epoch uint64, accepted map[image.StoreID]bool, stream agentv1.SessionService_ConnectServer) *session {
	ctx, cancel := context.WithCancelCause(stream.Context())
	var expires time.Time
	if s.Expiry != nil {
		expires = s.Expiry(ctx)
	}
	return &session{
		expires: expires,
		service: s, site: id, epoch: epoch, accepted: accepted, stream: stream, ctx: ctx, cancel: cancel,
		woken: make(chan struct{}, 1), heard: make(chan struct{}, 1), all: true, dirty: map[key]struct{}{},
	}
}

// end makes serve return cause.
func (ss *session) end(cause error) { ss.cancel(cause) }

// wake makes the writer look for something to send.
func (ss *session) wake() {
	select {
	case ss.woken <- struct{}{}:
	default:
	}
}

// touch marks a replica as changed.
func (ss *session) touch(k key) {
	ss.mu.Lock()
	ss.dirty[k] = struct{}{}
	ss.mu.Unlock()
	ss.wake()
}

// resync makes the writer send a snapshot.
func (ss *session) resync() {
	ss.mu.Lock()
	ss.all = true
	ss.mu.Unlock()
	ss.wake()
}

// serve runs the session. It returns when the stream is dead, silent or ended by end.
//
// It does not wait for a writer that is blocked because the agent does not read: such a Send returns only once this
// function has, and then with an error.
func (ss *session) serve(welcome *agentv1.Welcome) error {
	defer ss.cancel(nil)
	alive := make(chan struct{}, 1)
	read := make(chan error, 1)
	written := make(chan error, 1)
	go func() { read <- ss.read(alive) }()
	go func() { written <- ss.write(welcome) }()
	limit := silences * ss.service.Heartbeat
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-alive: // a session that lives is heard from often enough to notice its expiry
			timer.Reset(limit)
			if err := ss.expired(); err != nil {
				ss.end(err)
				ss.farewell(written)
				return err
			}
		case <-timer.C:
			err := fault.New(fault.Timeout, "AGENT_SILENT", "nothing was heard from the agent for %s", limit)
			ss.end(err)
			ss.farewell(written)
			return err
		case err := <-read:
			return err
		case err := <-written:
			if err == nil { // the writer was faster to see that the session has been ended
				err = ss.ended()
			}
			return err
		case <-ss.ctx.Done():
			err := ss.ended()
			if fault.ReasonOf(err) != linkLost {
				ss.farewell(written)
			}
			return err
		}
	}
}

// linkLost is the reason of the end of a session that nobody has ended.
const linkLost = "LINK_LOST"

// ended returns why the context of the session has ended.
func (ss *session) ended() error {
	if err := context.Cause(ss.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Unavailable, linkLost, "the link to the agent is gone")
}

// expired returns why the session must end if the certificate it was opened with works no more. An agent that has renewed
// its certificate shows the new one when it connects again.
func (ss *session) expired() error {
	if ss.expires.IsZero() || !ss.service.Now().After(ss.expires) {
		return nil
	}
	return fault.New(fault.Unauthenticated, "CERT_EXPIRED", "the certificate of this session expired at %s; the agent connects again with its present one",
		ss.expires.UTC().Format(time.RFC3339))
}

// farewell gives the writer a moment to tell the agent why the session ends.
func (ss *session) farewell(written <-chan error) {
	timer := time.NewTimer(ss.service.parting)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
}

// read takes in messages until the stream ends.
func (ss *session) read(alive chan<- struct{}) error {
	for {
		msg, err := ss.stream.Recv()
		if err != nil {
			return err
		}
		select {
		case alive <- struct{}{}:
		default:
		}
		if msg.SessionEpoch != ss.epoch {
			continue // of an earlier session
		}
		switch body := msg.Body.(type) {
		case *agentv1.ConnectRequest_Observed:
			ss.observed(body.Observed)
		case *agentv1.ConnectRequest_Awaited:
			ss.await(body.Awaited)
		case *agentv1.ConnectRequest_Heartbeat:
			select {
			case ss.heard <- struct{}{}:
			default:
			}
		}
	}
}

// observed hands a report to the directory and keeps the store records up to date.
func (ss *session) observed(o *agentv1.Observed) {
	for _, st := range o.Stores {
		if !ss.accepted[image.StoreID(st.StoreId)] {
			continue
		}
		if err := ss.service.Catalog.RegisterStore(ss.ctx, ss.site, st); err != nil {
			ss.service.Log.Warn("store not recorded", "site", string(ss.site), "store", st.StoreId, "error", err)
		}
	}
	ss.ignored(ss.service.Directory.report(ss.site, ss.epoch, o, ss.known))
	if len(o.Stores) > 0 {
		touched := map[image.StoreID]bool{}
		for _, st := range o.Stores {
			touched[image.StoreID(st.StoreId)] = true
		}
		ss.service.touchStores(touched)
	}
}

// known reports whether the catalog names the replica.
func (ss *session) known(k key) bool {
	r, _ := ss.service.Catalog.Read().Replica(k.image, k.store)
	return r != nil
}

// ignored counts reported replicas that the catalog does not name. A few are normal: the agent has not heard yet that they
// are gone. So it is logged once, with no alarm.
func (ss *session) ignored(n int) {
	if n > 0 && ss.strangers.Load() == 0 {
		ss.service.Log.Info("the agent reports copies that the catalog does not name; they are ignored", "site", string(ss.site), "count", n)
	}
	ss.strangers.Add(int64(n))
}

// write sends Welcome, then whatever the agent does not know yet.
func (ss *session) write(welcome *agentv1.Welcome) error {
	if err := ss.send(&agentv1.ConnectResponse{Body: &agentv1.ConnectResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	w := &writer{session: ss, sent: map[key]digest{}}
	for {
		if err := w.flush(); err != nil {
			return err
		}
		select {
		case <-ss.ctx.Done():
			cause := context.Cause(ss.ctx)
			bye := &agentv1.Goodbye{Reason: fault.Public(cause), ReconnectAfter: durationpb.New(time.Second)}
			return ss.send(&agentv1.ConnectResponse{Body: &agentv1.ConnectResponse_Goodbye{Goodbye: bye}})
		case <-ss.heard:
			beat := &agentv1.ConnectResponse{Body: &agentv1.ConnectResponse_Heartbeat{Heartbeat: &agentv1.Heartbeat{}}}
			if err := ss.send(beat); err != nil {
				return err
			}
		case <-ss.woken:
		}
	}
}

func (ss *session) send(m *agentv1.ConnectResponse) error {
	m.SessionEpoch = ss.epoch
	return ss.stream.Send(m)
}

// writer remembers what the agent has been told. Only the writing goroutine uses it.
type writer struct {
	*session
	revision uint64
	sent     map[key]digest
	offers   []*agentv1.Offer
	parallel int32 // most transfers at the same time; 0: not limited
	scratch  []byte
}

// digest stands for a goal that has been sent: with metadata, goals themselves would take gigabytes for a thousand sites.
type digest [16]byte

// digest returns the digest of a goal.
func (w *writer) digest(d *agentv1.DesiredReplica) (digest, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(w.scratch[:0], d)
	if err != nil {
		return digest{}, fmt.Errorf("encode goal of image %s: %w", d.ImageId, err)
	}
	w.scratch = b
	sum := sha256.Sum256(b)
	return digest(sum[:len(digest{})]), nil
}

// desired returns what the agent should know of a replica.
func (w *writer) desired(read catalog.Reader, r *storev1.Replica) *agentv1.DesiredReplica {
	img, revision := read.Image(image.ID(r.ImageId))
	d := w.service.Desired(img, r)
	if w.service.Metadata != nil {
		d.Metadata = w.service.Metadata(img, revision, r)
	}
	return d
}

// flush sends everything that differs from what the agent has been told.
func (w *writer) flush() error {
	w.mu.Lock()
	snapshot := w.all
	dirty := w.dirty
	w.all, w.dirty = false, map[key]struct{}{}
	w.mu.Unlock()
	read := w.service.Catalog.Read()
	if snapshot {
		w.sent = map[key]digest{}
		for store := range w.accepted {
			for _, r := range read.StoreReplicas(store) {
				dirty[key{image.ID(r.ImageId), store}] = struct{}{}
			}
		}
	}
	var changed []*agentv1.DesiredReplica
	var removed []*agentv1.ReplicaKey
	for k := range dirty {
		if !w.accepted[k.store] {
			continue
		}
		r, _ := read.Replica(k.image, k.store)
		if r == nil {
			if _, told := w.sent[k]; told {
				delete(w.sent, k)
				removed = append(removed, &agentv1.ReplicaKey{ImageId: string(k.image), StoreId: string(k.store)})
			}
			continue
		}
		d := w.desired(read, r)
		sum, err := w.digest(d)
		if err != nil {
			return err
		}
		if w.sent[k] == sum {
			continue
		}
		w.sent[k] = sum
		changed = append(changed, d)
	}
	offers := w.service.offersOf(w.site)
	same := slices.EqualFunc(offers, w.offers, func(a, b *agentv1.Offer) bool { return proto.Equal(a, b) })
	site, _ := read.Site(w.site)
	parallel := site.GetLimits().GetParallelTransfers()
	if !snapshot && same && parallel == w.parallel && len(changed)+len(removed) == 0 {
		return nil
	}
	w.offers, w.parallel = offers, parallel
	return w.sendDesired(snapshot, changed, removed)
}

// sendDesired sends changes in messages of bounded size; the offers travel in each.
func (w *writer) sendDesired(snapshot bool, changed []*agentv1.DesiredReplica, removed []*agentv1.ReplicaKey) error {
	for first := true; first || len(changed)+len(removed) > 0; first = false {
		w.revision++
		d := &agentv1.Desired{Revision: w.revision, Snapshot: snapshot && first, Offers: w.offers, ParallelTransfers: w.parallel}
		n := fitting(changed)
		d.Replicas, changed = changed[:n], changed[n:]
		n = min(batch, len(removed))
		d.Removed, removed = removed[:n], removed[n:]
		d.More = snapshot && len(changed)+len(removed) > 0
		if err := w.send(&agentv1.ConnectResponse{Body: &agentv1.ConnectResponse_Desired{Desired: d}}); err != nil {
			return err
		}
	}
	return nil
}

// fitting returns how many of the goals go into one message: at least one if there is any.
func fitting(goals []*agentv1.DesiredReplica) int {
	size := 0
	for i, d := range goals[:min(batch, len(goals))] {
		if size += proto.Size(d); size > batchBytes && i > 0 {
			return i
		}
	}
	return min(batch, len(goals))
}
