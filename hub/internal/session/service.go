package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Protocol is the version of the link protocol this hub speaks.
const Protocol = 1

// helloTimeout bounds how long a new connection may stay silent.
const helloTimeout = 10 * time.Second

// Config is what a Service needs.
type Config struct {
	Catalog   *catalog.Catalog
	Directory *Directory
	// Peer returns the site that the caller's verified certificate names, and the caller's address.
	Peer func(context.Context) (site image.SiteID, address string, err error)
	// Expiry returns when the certificate of the caller expires, which ends its session; zero: never. Nil: never.
	Expiry func(context.Context) time.Time
	// Desired returns what a site is told about a replica.
	Desired func(*storev1.Image, *storev1.Replica) *agentv1.DesiredReplica
	// Metadata returns what the site tells readers about the image, whose record has this revision. Nil: nothing.
	Metadata func(img *storev1.Image, revision int64, r *storev1.Replica) *agentv1.ImageMetadata
	// Changed is told which images the planner should look at; it must not block.
	Changed   func(...image.ID)
	Heartbeat time.Duration // longest silence on a link; default 5 s
	SeenEvery time.Duration // how often it is written down that a connected site is there; default 5 min
	Version   string        // of this software
	Log       hclog.Logger
	Registry  prometheus.Registerer // nil: no metrics
	Now       func() time.Time
}

// Service implements atoll.agent.v1.SessionService. Run must be running.
type Service struct {
	agentv1.UnimplementedSessionServiceServer
	Config
	awaited   *prometheus.CounterVec
	parting   time.Duration // how long the writer may take to tell an agent why its session ends
	following chan struct{} // closed once Run follows the records
	once      sync.Once

	mu       sync.Mutex
	sessions map[image.SiteID]*session
	offers   map[image.SiteID][]*agentv1.Offer
}

// New returns a service.
func New(c Config) *Service {
	if c.Heartbeat == 0 {
		c.Heartbeat = 5 * time.Second
	}
	if c.SeenEvery == 0 {
		c.SeenEvery = 5 * time.Minute
	}
	return &Service{
		Config: c, awaited: newAwaited(c.Registry), parting: time.Second, following: make(chan struct{}),
		sessions: map[image.SiteID]*session{}, offers: map[image.SiteID][]*agentv1.Offer{},
	}
}

// Run hands changes of records to the sessions, and writes down who is connected, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.recordSeen(ctx) })
	sub := s.Catalog.Subscribe()
	defer sub.Close()
	s.once.Do(func() { close(s.following) })
	for {
		select {
		case <-ctx.Done():
			s.closeAll()
			return nil
		case <-sub.C():
			keys, reset := sub.Take()
			s.spread(keys, reset)
		}
	}
}

// closeAll tells every agent that the hub is going away.
func (s *Service) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ss := range s.sessions {
		ss.end(fault.New(fault.Unavailable, "HUB_STOPPING", "the hub is stopping"))
	}
}

// spread marks what changed as dirty in the sessions it concerns.
func (s *Service) spread(keys []catalog.Key, reset bool) {
	if reset {
		s.mu.Lock()
		for _, ss := range s.sessions {
			ss.resync()
		}
		s.mu.Unlock()
		return
	}
	read := s.Catalog.Read()
	for _, k := range keys {
		switch k.Kind {
		case catalog.KindReplica:
			s.touch(read, key{k.Image, k.Store})
		case catalog.KindImage:
			replicas, _ := read.Replicas(image.ID(k.ID))
			for _, r := range replicas {
				s.touch(read, key{image.ID(r.ImageId), image.StoreID(r.StoreId)})
			}
		case catalog.KindSite:
			if id := image.SiteID(k.ID); s.deleted(id) {
				s.End(id, errDeleted(id))
				s.Directory.drop(id)
			} else {
				s.wake(id) // its limits may have changed
			}
		}
	}
}

// deleted reports whether a site has no record any more.
func (s *Service) deleted(id image.SiteID) bool {
	site, _ := s.Catalog.Read().Site(id)
	return site == nil
}

func errDeleted(id image.SiteID) error {
	return fault.New(fault.Denied, "SITE_DELETED", "site %s has been deleted", id)
}

// touch marks one replica as dirty in the session of its site.
func (s *Service) touch(read catalog.Reader, k key) {
	store, _ := read.Store(k.store)
	if store == nil {
		return
	}
	id := image.SiteID(store.SiteId)
	if r, _ := read.Replica(k.image, k.store); r == nil {
		s.Directory.forget(id, k)
	}
	s.mu.Lock()
	ss := s.sessions[id]
	s.mu.Unlock()
	if ss != nil {
		ss.touch(k)
	}
}

// SetOffers says which copies each site should offer to the staging area; sites that are not named offer none.
func (s *Service) SetOffers(offers map[image.SiteID][]*agentv1.Offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers = offers
	for _, ss := range s.sessions {
		ss.wake()
	}
}

func (s *Service) offersOf(id image.SiteID) []*agentv1.Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers[id]
}

// wake makes the session of a site, if there is one, look for something to send.
func (s *Service) wake(id image.SiteID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss := s.sessions[id]; ss != nil {
		ss.wake()
	}
}

// End closes the session of a site, if there is one, and tells the agent why.
func (s *Service) End(id image.SiteID, cause error) {
	s.mu.Lock()
	ss := s.sessions[id]
	s.mu.Unlock()
	if ss != nil {
		ss.end(cause)
	}
}

// Connect serves one agent until it goes away, falls silent, is replaced by a newer connection or the hub stops.
func (s *Service) Connect(stream agentv1.SessionService_ConnectServer) error {
	id, address, err := s.Peer(stream.Context())
	if err != nil {
		return err
	}
	hello, err := receiveHello(stream)
	if err != nil {
		return err
	}
	log := s.Log.With("site", string(id), "address", address, "agent_version", hello.AgentVersion)
	if hello.ProtocolMin > Protocol || hello.ProtocolMax < Protocol {
		err := fault.New(fault.Precondition, "PROTOCOL_MISMATCH",
			"the agent speaks link protocol %d to %d, this hub speaks %d; upgrade the older one", hello.ProtocolMin, hello.ProtocolMax, Protocol)
		log.Warn("agent refused", "error", err)
		return err
	}
	select {
	case <-s.following: // else a change after the session's snapshot would never reach it
	case <-stream.Context().Done():
		return context.Cause(stream.Context())
	}
	accepted, refused, central, err := s.register(stream.Context(), id, hello.Stores)
	if err != nil {
		return err
	}
	epoch, err := s.Catalog.OpenSession(stream.Context(), id, hello.AgentVersion)
	if err != nil {
		return err
	}
	ss := newSession(s, id, epoch, accepted, stream)
	if err := s.replace(ss, hello.InstanceId, log); err != nil {
		return err
	}
	if s.deleted(id) { // before this session could be found and ended
		s.drop(ss)
		return errDeleted(id)
	}
	s.Directory.open(id, epoch, address, hello.AgentVersion, hello.Stores, accepted)
	log.Info("agent connected", "epoch", epoch, "stores", len(accepted), "refused_stores", len(refused))
	s.touchStores(accepted)
	err = ss.serve(&agentv1.Welcome{
		Protocol: Protocol, HeartbeatInterval: durationpb.New(s.Heartbeat), HubVersion: s.Version, RefusedStores: refused, Central: central,
	})
	s.Directory.close(id, epoch)
	if s.deleted(id) {
		s.Directory.drop(id)
	}
	s.drop(ss)
	log.Info("agent disconnected", "epoch", epoch, "error", err, "unknown_copies", ss.strangers.Load())
	// The stream's context has ended; the record is written all the same, within bounds.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stream.Context()), helloTimeout)
	defer cancel()
	if cerr := s.Catalog.SawSite(ctx, id); cerr != nil && !fault.Is(cerr, fault.NotFound) {
		log.Debug("last seen time not recorded", "error", cerr)
	}
	s.touchStores(accepted)
	return err
}

// receiveHello returns the first message of a stream.
func receiveHello(stream agentv1.SessionService_ConnectServer) (*agentv1.Hello, error) {
	type result struct {
		msg *agentv1.ConnectRequest
		err error
	}
	got := make(chan result, 1) // the goroutine ends with the stream at the latest
	go func() {
		msg, err := stream.Recv()
		got <- result{msg, err}
	}()
	timer := time.NewTimer(helloTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil, fault.New(fault.Timeout, "NO_HELLO", "no hello within %s", helloTimeout)
	case r := <-got:
		if r.err != nil {
			return nil, r.err
		}
		if h := r.msg.GetHello(); h != nil {
			return h, nil
		}
		return nil, fault.New(fault.Invalid, "NO_HELLO", "the first message must be hello")
	}
}

// register records the stores an agent announces.
func (s *Service) register(ctx context.Context, id image.SiteID, stores []*agentv1.StoreStatus) (
	accepted map[image.StoreID]bool, refused []*agentv1.RefusedStore, central bool, err error,
) {
	accepted = map[image.StoreID]bool{}
	for _, st := range stores {
		err := s.Catalog.RegisterStore(ctx, id, st)
		switch fault.ClassOf(err) {
		case fault.Exists, fault.Invalid:
			s.Log.Warn("store refused", "site", string(id), "store", st.StoreId, "error", err)
			refused = append(refused, &agentv1.RefusedStore{StoreId: st.StoreId, Message: fault.Public(err)})
			continue
		}
		if err != nil {
			return nil, nil, false, fmt.Errorf("register store: %w", err)
		}
		accepted[image.StoreID(st.StoreId)] = true
		central = central || image.StoreID(st.StoreId) == s.Catalog.Central()
	}
	return accepted, refused, central, nil
}

// replace makes ss the session of its site and ends the one before. It refuses when that one is the newer of the two.
func (s *Service) replace(ss *session, instance string, log hclog.Logger) error {
	superseded := fault.New(fault.Conflict, "SUPERSEDED", "another agent has connected for this site")
	s.mu.Lock()
	old := s.sessions[ss.site]
	if old != nil && old.epoch > ss.epoch {
		s.mu.Unlock()
		return superseded
	}
	s.sessions[ss.site] = ss
	s.mu.Unlock()
	if old != nil {
		log.Warn("a newer connection of the site replaces an older one", "instance", instance)
		old.end(superseded)
	}
	return nil
}

// drop forgets a session that has ended.
func (s *Service) drop(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[ss.site] == ss {
		delete(s.sessions, ss.site)
	}
}

// touchStores makes the planner look at every image that has or wants a copy in the stores.
func (s *Service) touchStores(stores map[image.StoreID]bool) {
	for store := range stores {
		for _, r := range s.Catalog.Read().StoreReplicas(store) {
			s.Changed(image.ID(r.ImageId))
		}
	}
}
