// Package etcdstore keeps the catalog's records in etcd, follows them with a cache, and elects the hub that leads.
//
// Writes are transactions guarded by the revisions at which the caller read the records, and, while this hub leads or has
// led, by its place in the election: a hub that has lost the lead without knowing it cannot write.
package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// DefaultPrefix is where the records live when Config.Prefix is empty.
const DefaultPrefix = "/atoll"

// Config says where the records are.
type Config struct {
	// Endpoints are the members of one etcd cluster: http(s)://HOST:PORT or unix:///PATH.
	Endpoints []string
	// Prefix starts every key; DefaultPrefix when empty. It starts with a slash and does not end with one.
	Prefix string
	// TLS secures the connections to https endpoints; nil for plain ones.
	TLS *tls.Config
	// HubID names this hub: the same over restarts, never shared by two running hubs.
	HubID string
	// Lease is how long a hub that has died goes on leading, at least 6 s; 0 for 15 s. It is renewed every third of that,
	// and a leader that could not renew it for two thirds gives up by itself.
	Lease time.Duration
	// Log receives warnings; nil for none.
	Log hclog.Logger
	// Registry receives the metrics; nil for none. Close takes them out again.
	Registry prometheus.Registerer

	timing timing // zero outside tests: defaultTiming
}

// timing holds all waits of a store.
type timing struct {
	request  time.Duration // one etcd request
	commit   time.Duration // a whole Commit, attempts included
	settle   time.Duration // finding out how a commit without an answer ended
	progress time.Duration // between requests for a sign of life of the watch
	silence  time.Duration // of the watch, until it is given up
	relist   time.Duration // between lists that repair what the watch may have missed; jittered
	lease    time.Duration // of a candidate
	renew    time.Duration // between renewals of the lease
	fence    time.Duration // without a renewal, until the lead is given up
	observe  time.Duration // between looks at the size of the database; 0: nobody looks
	retry    retry.Policy
}

var defaultTiming = timing{
	request: 5 * time.Second, commit: 15 * time.Second, settle: 3 * time.Second,
	progress: 10 * time.Second, silence: 30 * time.Second, relist: time.Hour,
	lease: 15 * time.Second, renew: 5 * time.Second, fence: 10 * time.Second,
	observe: time.Minute,
	retry:   retry.Policy{Initial: 50 * time.Millisecond, Max: 2 * time.Second},
}

// Store implements catalog.Records. It is safe for concurrent use.
type Store struct {
	keys    keyspace
	hubID   string
	log     hclog.Logger
	timing  timing
	cache   *cache
	metrics *metrics
	slots   *slots

	follower *clientv3.Client // lists and watches
	client   *clientv3.Client // everything else, so that a busy watch delays no renewal

	campaign sync.Mutex           // held while campaigning
	term     atomic.Pointer[term] // the latest lead, nil when there was none

	campaigns    context.Context //nolint:containedctx // ends when Close begins
	endCampaigns context.CancelCauseFunc
	ctx          context.Context //nolint:containedctx // ends when Close has given up the lead
	cancel       context.CancelCauseFunc
	wg           sync.WaitGroup
	closed       sync.Once
}

var _ catalog.Records = (*Store)(nil)

var errClosed = fault.New(fault.Unavailable, "STOPPING", "the hub is stopping")

// Open connects to etcd and blocks until all records have been read, retrying until ctx ends. It fails at once when a
// record cannot be decoded: a hub that does not see a record might remove what the record protects. Close the store when
// done.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := newStore(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// start starts the goroutines and blocks until the cache is filled. When it fails the store is closed.
func (s *Store) start(ctx context.Context) (err error) {
	ready := make(chan error, 1)
	s.wg.Go(func() { s.follow(s.ctx, ready) })
	if s.timing.observe > 0 {
		s.wg.Go(func() { s.observe(s.ctx) })
	}
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = fault.Wrap(context.Cause(ctx), fault.Unavailable, "STORE_UNAVAILABLE", "the store of records does not answer")
	}
	if err != nil {
		s.stop()
		return err
	}
	s.clearReceipts(ctx)
	return nil
}

// newStore returns a store that does nothing yet. It outlives ctx.
func newStore(ctx context.Context, c Config) (*Store, error) {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.timing == (timing{}) {
		c.timing = defaultTiming
		if c.Lease > 0 {
			c.timing.lease, c.timing.renew, c.timing.fence = c.Lease, c.Lease/3, 2*c.Lease/3
		}
	}
	switch {
	case len(c.Endpoints) == 0:
		return nil, fault.BadField("etcd-endpoints", "name at least one")
	case c.Prefix[0] != '/' || c.Prefix[len(c.Prefix)-1] == '/':
		return nil, fault.BadField("etcd-prefix", "%q does not start with a slash and end without one", c.Prefix)
	case c.HubID == "":
		return nil, fault.BadField("hub-id", "must not be empty")
	}
	s := &Store{
		keys: keyspace(c.Prefix), hubID: c.HubID, log: c.Log, timing: c.timing, cache: newCache(),
	}
	s.slots = newSlots(s.keys.commits() + c.HubID + "/" + string(image.NewID()) + "/")
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.campaigns, s.endCampaigns = context.WithCancelCause(s.ctx)
	var err error
	if s.follower, err = newClient(c); err != nil {
		return nil, err
	}
	if s.client, err = newClient(c); err != nil {
		return nil, errors.Join(err, s.follower.Close())
	}
	if s.metrics, err = newMetrics(c.Registry, s); err != nil {
		return nil, errors.Join(err, s.follower.Close(), s.client.Close())
	}
	return s, nil
}

// reconnect keeps the waits between attempts to connect short: by default they grow to two minutes, and a hub would
// stay without its store for that long after etcd has come back.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 3 * time.Second},
	MinConnectTimeout: 5 * time.Second,
}

func newClient(c Config) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: c.TLS, Logger: zap.NewNop(),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second, // servers allow a ping every 5 s
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(reconnect)},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}

// Close gives up the lead, if this hub has it, and stops. It blocks for a few seconds at most. Calls under way fail with
// Unavailable. The cache can still be read.
func (s *Store) Close() error {
	s.closed.Do(func() {
		s.endCampaigns(errClosed)
		s.campaign.Lock() // a campaign under way has taken its candidate back when this returns
		defer s.campaign.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.timing.settle)
		defer cancel()
		s.resign(ctx)
		s.clearReceipts(ctx)
		s.stop()
	})
	return nil
}

// stop ends the goroutines and closes the connections.
func (s *Store) stop() {
	s.cancel(errClosed)
	s.wg.Wait()
	s.metrics.unregister()
	for _, c := range []*clientv3.Client{s.follower, s.client} {
		if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("closing a connection to etcd failed", "error", err)
		}
	}
}

// bounded returns ctx limited to d and to the life of the store.
func (s *Store) bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
