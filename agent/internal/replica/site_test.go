package replica

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/filerbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/agent/internal/sums"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	img1 = image.ID("11111111-1da0-4078-97fe-f1bb81f61b00")
	img2 = image.ID("22222222-1da0-4078-97fe-f1bb81f61b00")
	conA = image.ID("aaaaaaaa-1da0-4078-97fe-f1bb81f61b00")
	conB = image.ID("bbbbbbbb-1da0-4078-97fe-f1bb81f61b00")
	st0  = "dcn0"
	st1  = "dcn0-ssd"

	goalPresent   = agentv1.Goal_GOAL_PRESENT
	goalHold      = agentv1.Goal_GOAL_HOLD
	goalCondemned = agentv1.Goal_GOAL_CONDEMNED
	goalAbsent    = agentv1.Goal_GOAL_ABSENT

	isAbsent    = agentv1.ReplicaState_REPLICA_STATE_ABSENT
	isFilling   = agentv1.ReplicaState_REPLICA_STATE_FILLING
	isVerifying = agentv1.ReplicaState_REPLICA_STATE_VERIFYING
	isPresent   = agentv1.ReplicaState_REPLICA_STATE_PRESENT
	isFailed    = agentv1.ReplicaState_REPLICA_STATE_FAILED
	isCondemned = agentv1.ReplicaState_REPLICA_STATE_CONDEMNED
	inUse       = agentv1.ReplicaState_REPLICA_STATE_IN_USE
)

// site is an agent's stores on disk and the Manager that looks after them at the moment.
type site struct {
	t                 *testing.T
	hub               *fakeHub
	dirs              map[image.StoreID]string
	journal, sums     string
	verify, compact   string
	depth             int
	workers, parallel int
	registry          *prometheus.Registry
	unhurried         bool                                   // waits are as outside of tests
	patience          time.Duration                          // how long until waits, if longer than usual: for real clusters
	wrap              func(image.StoreID, rbd.Pool) rbd.Pool // around each pool; nil for none

	m     *Manager
	pools map[image.StoreID]*rbdtest.Faulty
	stop  func()
	view  map[string]*agentv1.ObservedReplica // image@store
	seen  []agentv1.ReplicaState
	rev   uint64
}

func newSite(t *testing.T, hub *fakeHub, stores ...image.StoreID) *site {
	t.Helper()
	if len(stores) == 0 {
		stores = []image.StoreID{st0}
	}
	s := &site{t: t, hub: hub, dirs: map[image.StoreID]string{}, journal: memDir(t), sums: memDir(t), workers: 3}
	for _, id := range stores {
		s.dirs[id] = memDir(t)
	}
	return s
}

// memDir is t.TempDir in memory where that is possible: file pools sync a lot.
func memDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "atoll-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// begin starts a new Manager, as a new process would.
func (s *site) begin() *site {
	s.t.Helper()
	j, err := journal.OpenDir(s.journal)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := sums.OpenDir(s.sums)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := Config{
		Sums:   d,
		Stores: map[image.StoreID]Store{}, Frames: s.hub.client, Journal: j, Workers: s.workers, Parallel: s.parallel, Compact: s.compact,
		Log: hclog.NewNullLogger(), Registry: s.registry,
	}
	if s.registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	if testing.Verbose() {
		cfg.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stderr})
	}
	s.pools = map[image.StoreID]*rbdtest.Faulty{}
	for id, dir := range s.dirs {
		p, err := filerbd.Open(dir)
		if err != nil {
			s.t.Fatal(err)
		}
		if s.wrap != nil {
			p = s.wrap(id, p)
		}
		s.pools[id] = rbdtest.NewFaulty(p)
		cfg.Stores[id] = Store{Pool: s.pools[id], Name: "images", Verify: s.verify, WriteDepth: s.depth}
	}
	s.m = New(cfg)
	if !s.unhurried {
		s.m.pace = pace{
			healthy: 20 * time.Millisecond, unhealthy: 10 * time.Millisecond, answer: patience, firm: patience,
			progress: 5 * time.Millisecond, inUse: 20 * time.Millisecond, busy: 10 * time.Millisecond, busyTries: 200,
			hubFirst: time.Millisecond, hubMax: 10 * time.Millisecond, gone: time.Hour, frame: patience, ledger: 2,
		}
	}
	s.view, s.seen = map[string]*agentv1.ObservedReplica{}, nil
	return s.run()
}

func (s *site) run() *site {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.m.Run(ctx) }()
	s.stop = func() {
		s.stop = func() {}
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			s.t.Fatal("waited in vain for the Manager to stop")
		}
	}
	s.t.Cleanup(func() { s.stop() })
	return s
}

// goalOf builds a goal for img1 in the first store.
func goalOf(goal agentv1.Goal, generation uint64, content image.ID) *agentv1.DesiredReplica {
	return &agentv1.DesiredReplica{
		ImageId: string(img1), StoreId: st0, Generation: generation, Goal: goal,
		Content: &agentv1.Content{ContentId: string(content)},
	}
}

func (c *fakeContent) describe(d *agentv1.DesiredReplica) *agentv1.DesiredReplica {
	d.Content.SizeBytes = c.man.Length
	d.Content.ManifestDigest = c.root[:]
	return d
}

// delta sends goals.
func (s *site) delta(r ...*agentv1.DesiredReplica) {
	s.rev++
	s.m.Apply(&agentv1.Desired{Revision: s.rev, Replicas: r})
}

// snapshot sends everything that is wanted.
func (s *site) snapshot(r ...*agentv1.DesiredReplica) {
	s.rev = 1
	s.m.Apply(&agentv1.Desired{Revision: 1, Snapshot: true, Replicas: r})
}

// patience bounds every wait of the tests.
const patience = time.Minute

// until takes over what the Manager reports until ok.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	limit := max(patience, s.patience)
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		if o := s.m.Take(); o != nil {
			for _, r := range o.Replicas {
				s.view[r.ImageId+"@"+r.StoreId] = r
				s.seen = append(s.seen, r.State)
			}
		}
		if ok() {
			return
		}
		select {
		case <-s.m.Changed():
		case <-late.C:
			s.t.Fatalf("%s: not within %v; reported: %v", what, limit, s.view)
		}
	}
}

// entered waits until a call is held back at the gate.
func (s *site) entered(g *rbdtest.Gate) {
	s.t.Helper()
	select {
	case <-g.Entered():
	case <-time.After(patience):
		s.t.Fatal("waited in vain for a call at the gate")
	}
}

// await waits until img1 in the first store is reported in a state as the answer to a generation.
func (s *site) await(state agentv1.ReplicaState, generation uint64) *agentv1.ObservedReplica {
	s.t.Helper()
	return s.awaitOf(img1, st0, state, generation)
}

func (s *site) awaitOf(id image.ID, store string, state agentv1.ReplicaState, generation uint64) *agentv1.ObservedReplica {
	s.t.Helper()
	k := string(id) + "@" + store
	s.until(state.String(), func() bool {
		r := s.view[k]
		if r != nil && r.Generation == generation && r.State == isFailed && state != isFailed {
			s.t.Fatalf("failed instead of %v: %v", state, r.Failure)
		}
		return r != nil && r.State == state && r.Generation == generation
	})
	return s.view[k]
}

// raw opens the store without any wrapper.
func (s *site) raw(store image.StoreID) rbd.Pool {
	s.t.Helper()
	p, err := filerbd.Open(s.dirs[store])
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *site) names() string {
	s.t.Helper()
	list, err := s.raw(st0).List(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// holds fails unless the published copy of img1 is complete, protected and has these bytes.
func (s *site) holds(c *fakeContent) {
	s.t.Helper()
	holds(s.t, s.raw(st0), img1, c)
}

func holds(t *testing.T, pool rbd.Pool, id image.ID, c *fakeContent) {
	t.Helper()
	snap, err := pool.OpenSnapshot(t.Context(), string(id))
	if err != nil {
		t.Fatalf("open the published copy: %v", err)
	}
	defer func() { _ = snap.Close() }()
	if snap.Size() != c.man.Length {
		t.Fatalf("published copy has %d bytes, the content %d", snap.Size(), c.man.Length)
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < snap.Size(); off += int64(len(buf)) {
		got := buf[:min(int64(len(buf)), snap.Size()-off)]
		if err := snap.ReadAt(t.Context(), got, off); err != nil {
			t.Fatalf("read the published copy: %v", err)
		}
		if !bytes.Equal(got, c.data[off:off+int64(len(got))]) {
			t.Fatalf("published copy differs from the content in the MiB at %d", off)
		}
	}
	img, err := pool.Open(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	if exists, protected, err := img.SnapshotState(t.Context()); err != nil || !exists || !protected {
		t.Fatalf("snapshot exists %v, protected %v, %v", exists, protected, err)
	}
	if root, err := img.Meta(t.Context(), metaManifest); err != nil || root != c.root.String() {
		t.Fatalf("manifest noted with the copy is %q, %v", root, err)
	}
}

// tidy fails unless only these images and no journal are left.
func (s *site) tidy(names string) {
	s.t.Helper()
	if got := s.names(); got != names {
		s.t.Errorf("images in the store: %q, want %q", got, names)
	}
	left, err := os.ReadDir(s.journal)
	if err != nil || len(left) > 0 {
		s.t.Errorf("journals left: %v %v", left, err)
	}
}
