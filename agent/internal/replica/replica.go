// Package replica brings the stores of a site to what the hub wants of them: it fills, verifies, publishes, condemns and
// removes copies of images, and offers the chunks of copies to the hub.
//
// It is level-triggered. For each copy with something to do one worker compares what is wanted with what the pool holds
// and moves one step at a time; nothing is remembered between steps that the pool does not say as well, so that a lost,
// doubled or late message, a failed call and a crash all cost time only.
//
// # Order of a fill
//
// Names: the copy is written as atoll.UUID (hidden), published as UUID, and taken out of sight as atoll-condemned.UUID.
// Each step below leaves a state that the next attempt recognises:
//
//  1. The journal of an earlier hidden image is removed; then the hidden image is created. A journal therefore never
//     tells of another hidden image than the one that is there.
//  2. The content id is stored with the hidden image. One without it, or with another, is taken over: all that it holds
//     is compared with the manifest before use.
//  3. Chunks are written; each is noted in the journal after its write returned, and now and then the sums of many are
//     stored with the image, see ledger. What the pool holds but the journal does not know is compared, by its sum or by
//     reading it; what the journal knows but the pool does not hold is written again.
//  4. The exact length is set, everything is flushed, the snapshot is created. A hidden image that has a snapshot when an
//     attempt begins loses it before anything is written.
//  5. The snapshot is compared with the manifest: the store sums up each chunk, and that must be the sum of the bytes with
//     the manifest's digest that the agent had in memory. What has no such sum, or another, is read back. Damage: the
//     snapshot is removed, the damaged chunks are forgotten in the journal, then written again, and so on from 4.
//  6. The ledger is removed from the image, the root digest stored with it, the snapshot protected.
//  7. The hidden image is renamed to UUID. This is the publication, and atomic: before it nothing is visible, after it
//     the copy is complete and verified.
//  8. The sums are kept for verifications and the journal is removed. One without its hidden image is removed by 1, or as garbage.
//
// Calls that change names, snapshots or metadata are not given up when the goal changes, only when the process ends or
// the store does not answer: an abandoned rename could otherwise publish behind the back of the next step.
package replica

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/sums"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Frames moves manifests and frames between the hub and this agent. Package frame's Client is the one in use; its
// comments say what the errors mean.
type Frames interface {
	Manifest(ctx context.Context, content image.ID, from int) (*manifest.Decoder, io.Closer, error)
	Get(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte) (raw []byte, wire int64, err error)
	GetCompact(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte, base *frame.Base) (raw []byte, wire int64, err error)
	// LinkRate returns at how many bytes per second frames have arrived lately; 0 while that is not known.
	LinkRate() float64
	Refetch(ctx context.Context, content image.ID, index int, want manifest.Digest, dst []byte) (raw []byte, wire int64, err error)
	Put(ctx context.Context, content image.ID, index int, raw []byte, codec frame.Codec) error
	Demand(ctx context.Context, content image.ID, most int) ([]int, error)
	PutManifest(ctx context.Context, content image.ID, m *manifest.Manifest) error
}

// Config is what a Manager needs.
type Config struct {
	Stores   map[image.StoreID]Store // the stores of the site; the Manager does not close them
	Frames   Frames
	Journal  *journal.Dir
	Sums     *sums.Dir // of published copies; nil keeps none, and verifications read
	Parallel int       // fills at once in one store, default 4
	Workers  int       // chunks in flight of one fill, default 8; each holds a buffer of 4 MiB
	Compact  string    // when chunks are fetched in a shorter form; default CompactAuto
	Log      hclog.Logger
	Registry prometheus.Registerer
	Now      func() time.Time // default time.Now
}

// Store is one store of the site.
type Store struct {
	Pool rbd.Pool
	Name string // name of the pool, reported until the cluster has told it itself
	// Verify says how copies are verified; default VerifyChecksums.
	Verify string
	// WriteDepth is how many writes of fills may be in flight, 1 to MaxWriteDepth; or WriteAuto, WriteGentle.
	WriteDepth int
}

// Manager keeps the site's stores as the hub wants them. Its methods may be called from several goroutines and do not
// block on stores or the hub, except Run.
type Manager struct {
	cfg     Config
	pace    pace
	log     hclog.Logger
	metrics *metrics
	stores  map[image.StoreID]*store
	queue   *queue        // of the fills
	changed chan struct{} // see Changed
	kick    chan struct{} // there may be work to start

	mu       sync.Mutex
	replicas map[key]*replica
	ready    map[key]struct{} // replicas to look at for work
	dirty    map[key]struct{} // replicas with unreported changes
	offers   map[offerKey]*offer
	inbox    inbox
	complete bool // a complete snapshot has been received
}

// key names a replica.
type key = journal.Key

// pace holds the waits and the like; tests shorten them.
type pace struct {
	healthy   time.Duration // between health checks of a store that is well
	unhealthy time.Duration // and of one that is not; also before a removal that failed unseen is tried again
	answer    time.Duration // a health check may take so long
	firm      time.Duration // a call that is not given up when the goal changes may take so long; drivers give up earlier
	progress  time.Duration // between reports of progress of one replica
	inUse     time.Duration // before a removal looks again whether the clones are gone
	busy      time.Duration // before a removal tries again an image that somebody has open
	busyTries int           // after so many tries an open image is a failure
	hubFirst  time.Duration // first wait after the hub could not serve
	hubMax    time.Duration // longest such wait
	gone      time.Duration // before a content that was gone is asked for again
	frame     time.Duration // one attempt to fetch or send a frame may take so long; a limit of the hub may make it slow, silence ends it earlier
	ledger    int           // chunks after which the ledger of a hidden image is stored: what must be read when the journal is lost
}

func defaultPace() pace {
	return pace{
		healthy: 30 * time.Second, unhealthy: 5 * time.Second, answer: 30 * time.Second, firm: 15 * time.Minute,
		progress: 250 * time.Millisecond, inUse: 30 * time.Second, busy: 5 * time.Second, busyTries: 18,
		hubFirst: 200 * time.Millisecond, hubMax: 5 * time.Second, gone: 15 * time.Second, frame: 10 * time.Minute,
		ledger: 32,
	}
}

// New returns a Manager that does nothing until Run is called.
func New(cfg Config) *Manager {
	cfg.Parallel = cmp.Or(cfg.Parallel, 4)
	cfg.Workers = cmp.Or(cfg.Workers, 8)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Manager{
		cfg: cfg, pace: defaultPace(), log: cfg.Log.Named("replica"), metrics: newMetrics(cfg.Registry),
		stores:  make(map[image.StoreID]*store, len(cfg.Stores)),
		changed: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		replicas: make(map[key]*replica), ready: make(map[key]struct{}), dirty: make(map[key]struct{}),
		offers: make(map[offerKey]*offer), queue: &queue{parallel: cfg.Parallel},
	}
	for id, s := range cfg.Stores {
		st := newStore(id, s, cfg.Parallel, cfg.Workers)
		gauge := m.metrics.depth.WithLabelValues(string(id))
		st.valve = newValve(s.WriteDepth, cfg.Parallel*cfg.Workers, cfg.Now, m.log.With("store", id), gauge)
		m.stores[id] = st
	}
	return m
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
