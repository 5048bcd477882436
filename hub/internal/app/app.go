// Package app assembles the hub from its parts.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/api"
	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore/embedded"
	"github.com/atoll-dcn/atoll/hub/internal/glance"
	"github.com/atoll-dcn/atoll/hub/internal/identity"
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/hub/internal/session"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/hub/internal/standby"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/lifecycle"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	"github.com/atoll-dcn/atoll/pkg/telemetry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// openTimeout bounds how long the hub waits at its start for the store of records.
const openTimeout = time.Minute

// Run runs a hub until ctx ends, which yields nil, or a part of it fails.
func Run(ctx context.Context, c Config, out io.Writer) (err error) {
	central, limit, err := c.check()
	if err != nil {
		return err
	}
	c.Log.Name = "atoll-hub"
	log, err := telemetry.NewLogger(out, c.Log)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "data-dir: cannot be created")
	}
	lock, err := embedded.LockDir(c.DataDir)
	if err != nil {
		return err
	}
	defer closing(&err, lock)
	registry := telemetry.NewRegistry()
	access, err := openAccess(c, log)
	if err != nil {
		return err
	}
	listeners, err := listen(ctx, c)
	if err != nil {
		return err
	}
	defer listeners.close()
	id, err := hubID(c.DataDir)
	if err != nil {
		return err
	}
	records, shut, err := openRecords(ctx, c, id, log, registry)
	if err != nil {
		return err
	}
	defer shut(&err)
	ca, err := openCA(ctx, c, records)
	if err != nil {
		return err
	}
	h := &hub{
		Config: c, id: id, central: central, limit: limit, log: log, registry: registry, ca: ca, access: access, records: records, listeners: listeners,
	}
	if c.several() {
		if err := h.join(); err != nil {
			return err
		}
	}
	tasks := append(h.waiting(), lifecycle.Task{Name: "hub", Run: h.campaign})
	if listeners.metrics != nil {
		tasks = append(tasks, lifecycle.Task{Name: "metrics", Run: func(ctx context.Context) error {
			return telemetry.Serve(ctx, listeners.metrics, registry, h.health)
		}})
	}
	return lifecycle.Run(ctx, tasks...)
}

// hub is a hub with everything it has before it leads; area is there only while it does.
type hub struct {
	Config
	id        string
	central   image.StoreID
	limit     int64 // of the staging area
	log       hclog.Logger
	registry  *prometheus.Registry
	ca        *pki.CA
	area      *staging.Area
	access    *access
	records   *etcdstore.Store
	listeners *listeners
	standby   *standby.Forwarder // nil: there is no other hub
	note      string             // what other hubs learn while this one leads
	leads     atomic.Bool

	discarding sync.Mutex // held while the staging area of an earlier life is removed
}

// campaign waits until this hub leads and then does its work. What the hub that led before had in hand is settled first.
func (h *hub) campaign(ctx context.Context) (err error) {
	lost, err := h.records.Campaign(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if h.area, err = h.openArea(); err != nil {
		return err
	}
	defer closing(&err, h.area)
	cat := catalog.New(h.records, h.central, h.Limits, time.Now)
	if err := h.recover(ctx, cat); err != nil {
		return err
	}
	if h.listeners.local, err = listenLocal(ctx, h.DataDir); err != nil {
		return err
	}
	return h.run(ctx, cat, lost)
}

// run builds the parts in the order in which they depend on each other and runs them together.
func (h *hub) run(ctx context.Context, cat *catalog.Catalog, lost <-chan struct{}) error {
	authority := identity.New(identity.Config{
		CA: h.ca, Catalog: cat, TokenLife: h.TokenLife, CertificateLife: h.CertificateTTL,
		Log: h.log.Named("identity"), Registry: h.registry, Now: time.Now,
	})
	var loop *reconcile.Loop // the sites and the planner wake each other
	touch := func(ids ...image.ID) { loop.Touch(ids...) }
	directory := session.NewDirectory(time.Now, touch)
	sessions := session.New(session.Config{
		Catalog: cat, Directory: directory, Peer: identity.Caller, Expiry: identity.Expiry, Desired: reconcile.Desired,
		Metadata: reconcile.Metadata, Changed: touch, Heartbeat: h.Heartbeat, Version: h.Version, Log: h.log.Named("session"),
		Registry: h.registry, Now: time.Now,
	})
	limiter := h.limiter(touch)
	needs := reconcile.NewNeeds(h.records, h.area, sessions.SetOffers, h.log.Named("needs"))
	needs.Collect = min(needs.Collect, max(h.Retention, time.Second))
	plans := reconcile.Config{
		Records: h.records, Sites: sites{directory, h.records, min(comeBack, h.Settings.OfflineTimeout), limiter}, Needs: needs, Central: h.central,
		Sketches: h.area, Settings: h.Settings, Metrics: reconcile.NewMetrics(h.registry, time.Now), Log: h.log.Named("reconcile"), Now: time.Now,
	}
	loop = reconcile.NewLoop(plans)
	scrubs := reconcile.NewScrubs(plans)
	imports, err := h.importer(cat)
	if err != nil {
		return err
	}
	index := glance.NewIndex(cat)
	defer index.Close()
	images := h.imageAPI(glance.Config{
		Catalog: cat, Index: index, Importer: imports, Chunks: h.area, Directory: directory, Sources: needs,
		Policy: h.access.policy, Settings: h.Image.Settings, Log: h.log.Named("image-api"), Now: time.Now,
	})

	user := rpc.NewServer(h.access.serverOptions(h.log.Named("api")))
	api.Register(user, api.Config{
		Catalog: cat, Images: index, Policy: h.access.policy, Directory: directory, Importer: imports, Chunks: h.area, Identity: authority,
		Bandwidth: limiter, HubLimits: h.Bandwidth.limits, EndSession: sessions.End, Now: time.Now,
	})
	link := rpc.NewServer(rpc.ServerOptions{
		Log: h.log.Named("link"), TLS: h.ca.ServerConfig(time.Now, "h2"), HandshakeFailed: authority.HandshakeFailed,
		Unary:  []grpc.UnaryServerInterceptor{authority.Unary},
		Stream: []grpc.StreamServerInterceptor{authority.Stream},
	})
	agentv1.RegisterSessionServiceServer(link, sessions)
	agentv1.RegisterEnrollmentServiceServer(link, authority.Enrollment())
	short, err := h.openCompact()
	if err != nil {
		return err
	}
	frames := frame.NewHandler(h.area, frame.HandlerOptions{Manifests: manifests{h.area, cat}, Compact: short, Pacer: pacer{limiter, h.records}})

	h.log.Info("hub started", "version", h.Version, "central_store", string(h.central), "api", h.GRPCAddr, "image_api", h.Image.Addr, "link", h.LinkAddr,
		"frames", h.FramesAddr, "ca_fingerprint", h.ca.Fingerprint())
	tasks := []lifecycle.Task{
		{Name: "leadership", Run: func(ctx context.Context) error { return h.lead(ctx, lost) }},
		{Name: "staging", Run: h.area.Run},
		{Name: "bandwidth", Run: limiter.Run},
		{Name: "needs", Run: needs.Run},
		{Name: "reconcile", Run: loop.Run},
		{Name: "scrubs", Run: scrubs.Run},
		{Name: "importer", Run: imports.Run},
		{Name: "sessions", Run: sessions.Run},
		{Name: "history", Run: func(ctx context.Context) error {
			return catalog.Prune(ctx, h.records, h.log.Named("history"), time.Now)
		}},
		{Name: "api", Run: func(ctx context.Context) error { return user.Run(ctx, h.listeners.api) }},
		{Name: "link", Run: func(ctx context.Context) error { return link.Run(ctx, h.listeners.link) }},
		{Name: "frames", Run: func(ctx context.Context) error {
			return serveTLS(ctx, h.listeners.frames, authority.Middleware(frames), h.ca.ServerConfig(time.Now, "http/1.1"), h.log.Named("frames"))
		}},
		{Name: "local frames", Run: func(ctx context.Context) error {
			return serveLocal(ctx, h.listeners.local, frames, h.log.Named("frames"))
		}},
	}
	if h.listeners.image != nil {
		tasks = append(tasks, lifecycle.Task{Name: "image api", Run: func(ctx context.Context) error {
			return images.run(ctx, h.listeners.image)
		}})
	}
	if short != nil {
		tasks = append(tasks, lifecycle.Task{Name: "compact", Run: short.Run})
	}
	err = lifecycle.Run(ctx, tasks...)
	h.log.Info("hub stopped", "error", err)
	return err
}

// openRecords connects to the store of records, an embedded one unless endpoints are given. shut closes it again.
func openRecords(ctx context.Context, c Config, id string, log hclog.Logger, registry prometheus.Registerer) (
	records *etcdstore.Store, shut func(*error), err error,
) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	endpoints := c.EtcdEndpoints
	var server *embedded.Server
	if len(endpoints) == 0 {
		if server, err = embedded.Start(ctx, c.DataDir, log.Named("etcd")); err != nil {
			return nil, nil, err
		}
		endpoints = server.Endpoints()
	}
	o := etcdstore.Config{Endpoints: endpoints, HubID: id, Lease: leaseOfOne, Log: log.Named("records"), Registry: registry}
	if c.several() {
		o.Lease = leaseOfMany
	}
	if records, err = etcdstore.Open(ctx, o); err != nil {
		if server != nil {
			err = errors.Join(err, server.Close())
		}
		return nil, nil, err
	}
	return records, func(err *error) {
		closing(err, records)
		if server != nil {
			closing(err, server)
		}
	}, nil
}

// hubID returns the id of this hub, which it keeps for ever.
func hubID(dir string) (string, error) {
	path := filepath.Join(dir, "hub-id")
	if b, err := os.ReadFile(path); err == nil {
		if id, err := image.ParseID("hub-id", strings.TrimSpace(string(b))); err == nil {
			return string(id), nil
		}
	}
	id := string(image.NewID())
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("hub id: %w", err)
	}
	return id, nil
}

// closing closes c and keeps its error unless there is one already.
func closing(err *error, c io.Closer) {
	if cerr := c.Close(); cerr != nil && *err == nil {
		*err = cerr
	}
}

// listeners are the hub's ports, opened before anything else so that a taken one is noticed at once. The unix socket is
// there only while the hub leads.
type listeners struct {
	api, image, link, frames, local, metrics net.Listener
}

func listen(ctx context.Context, c Config) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, p := range []struct {
		into        *net.Listener
		field, addr string
	}{
		{&l.api, "grpc-addr", c.GRPCAddr},
		{&l.image, "image-addr", c.Image.Addr},
		{&l.link, "link-addr", c.LinkAddr},
		{&l.frames, "frames-addr", c.FramesAddr},
		{&l.metrics, "metrics-addr", c.MetricsAddr},
	} {
		if p.addr == "" && (p.field == "metrics-addr" || p.field == "image-addr") {
			continue
		}
		if *p.into, err = (&net.ListenConfig{}).Listen(ctx, "tcp", p.addr); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "%s: cannot listen on %q", p.field, p.addr)
		}
	}
	return l, nil
}

// close closes what is open; serving closes its listener too, which does no harm.
func (l *listeners) close() {
	for _, c := range []net.Listener{l.api, l.image, l.link, l.frames, l.local, l.metrics} {
		if c != nil {
			_ = c.Close()
		}
	}
}
