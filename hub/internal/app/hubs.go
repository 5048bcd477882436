package app

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/hub/internal/standby"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/lifecycle"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// HubsConfig is about several hubs on one etcd.
type HubsConfig struct {
	SharedDir     string
	PKIDir        string
	AdvertiseHost string
}

// How long a hub that has died goes on leading. Others wait to take over from one of many. Nobody does from a hub whose etcd is
// its own: it needs to give up neither when its machine has stood still nor when its disk is slow.
const (
	leaseOfMany = 9 * time.Second
	leaseOfOne  = 90 * time.Second
)

func (c *Config) hubs(f *pflag.FlagSet) {
	h := &c.Hubs
	f.StringVar(&h.SharedDir, "shared-dir", "",
		"directory on a volume that all hubs of one external etcd mount, for the staging area and the CA; empty: each hub has its own below --data-dir")
	f.StringVar(&h.PKIDir, "pki-dir", "", "directory of the CA, the same for all hubs; may be read-only; empty: pki below --shared-dir or --data-dir")
	f.StringVar(&h.AdvertiseHost, "advertise-host", "",
		"host under which other hubs reach this one; empty: the one it listens on, for wildcards the machine's name")
}

// several reports whether other hubs may share this one's records.
func (c *Config) several() bool { return len(c.EtcdEndpoints) > 0 }

// checkHubs returns the first thing that is wrong.
func (c *Config) checkHubs() error {
	if c.several() {
		return nil
	}
	for _, f := range []struct{ name, value string }{{"shared-dir", c.Hubs.SharedDir}, {"advertise-host", c.Hubs.AdvertiseHost}} {
		if f.value != "" {
			return fault.BadField(f.name, "is for several hubs, which need --etcd-endpoints")
		}
	}
	return nil
}

// openCA loads the CA, or makes one if the system has none yet. All hubs of one etcd must have the same one: agents trust no
// other.
func openCA(ctx context.Context, c Config, records *etcdstore.Store) (*pki.CA, error) {
	dir := c.Hubs.PKIDir
	if dir == "" {
		dir = filepath.Join(c.dirOfMany(), "pki")
	}
	if !c.several() {
		return makeCA(dir)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	known, err := records.Agree(ctx, "ca", "")
	if err != nil {
		return nil, err
	}
	ca, err := pki.LoadCA(dir)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case known != "":
		return nil, fault.New(fault.Precondition, "NO_CA", "pki-dir: there is no CA, but the hubs of this etcd have one already (fingerprint %s); "+
			"give this hub the ca.pem of the others, by --shared-dir or --pki-dir", known)
	default:
		if ca, err = makeCA(dir); err != nil {
			return nil, err
		}
	}
	if known, err = records.Agree(ctx, "ca", ca.Fingerprint()); err != nil {
		return nil, err
	}
	if known != ca.Fingerprint() {
		return nil, fault.New(fault.Precondition, "OTHER_CA", "pki-dir: the CA there (fingerprint %s) is not the one that the hubs of this etcd have "+
			"agreed on (%s); agents would not trust this hub; give it the ca.pem of the others, by --shared-dir or --pki-dir", ca.Fingerprint(), known)
	}
	return ca, nil
}

func makeCA(dir string) (*pki.CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "pki-dir: cannot be created")
	}
	return pki.OpenCA(dir, time.Now())
}

// dirOfMany is where things are that the next hub to lead should find.
func (c *Config) dirOfMany() string {
	if c.Hubs.SharedDir != "" {
		return c.Hubs.SharedDir
	}
	return c.DataDir
}

// areaDir is where the staging area is, or the areas of all leaders that share it.
func (h *hub) areaDir() string { return filepath.Join(h.dirOfMany(), "staging") }

// openArea opens the staging area. A shared one is taken away from earlier leaders first.
func (h *hub) openArea() (*staging.Area, error) {
	h.discarding.Lock()
	defer h.discarding.Unlock()
	h.leads.Store(true)
	dir := h.areaDir()
	if h.Hubs.SharedDir != "" {
		var err error
		if dir, err = staging.Claim(dir, h.records.Term()); err != nil {
			return nil, err
		}
	}
	return staging.Open(staging.Options{
		Dir: dir, Limit: h.limit, Retention: h.Retention, Patience: h.StagingWait,
		Log: h.log.Named("staging"), Registry: h.registry,
	})
}

// recover settles what the records say of data that went away with the staging area of another hub.
func (h *hub) recover(ctx context.Context, cat *catalog.Catalog) error {
	return retry.Do(ctx, recoveries, func(ctx context.Context) error {
		lost, err := cat.Recover(ctx, h.area.Has)
		if lost > 0 {
			h.log.Warn("images have lost their data: it was with another hub only", "images", lost)
		}
		return err
	}, nil)
}

// recoveries says how often recover is tried while the store of records is away.
var recoveries = retry.Policy{Initial: 100 * time.Millisecond, Max: 2 * time.Second, Attempts: 10}

// join makes the hub one of several: what comes to its ports goes to the hub that leads.
func (h *hub) join() error {
	h.standby = standby.New(standby.Config{
		Network: standby.Network(), ImageTLS: h.access.httpTLS, Log: h.log.Named("standby"), Registry: h.registry,
	})
	addresses := map[standby.Kind]string{}
	for _, p := range []struct {
		kind standby.Kind
		l    *net.Listener
	}{
		{standby.Image, &h.listeners.image},
		{standby.GRPC, &h.listeners.api},
		{standby.Link, &h.listeners.link},
		{standby.Frames, &h.listeners.frames},
	} {
		if *p.l == nil {
			continue
		}
		at, err := standby.Advertised((*p.l).Addr(), h.Hubs.AdvertiseHost)
		if err != nil {
			return err
		}
		addresses[p.kind] = at
		*p.l = h.standby.Port(p.kind, *p.l)
	}
	h.note = h.standby.Note(addresses).String()
	return nil
}

// waiting are the tasks of a hub beside others, from its start to its end.
func (h *hub) waiting() []lifecycle.Task {
	if h.standby == nil {
		return nil
	}
	return []lifecycle.Task{
		{Name: "ports", Run: h.standby.Run},
		{Name: "election", Run: func(ctx context.Context) error { return h.records.WatchLeader(ctx, h.follow) }},
	}
}

// follow hears who leads.
func (h *hub) follow(l etcdstore.Leader) {
	if l.Hub == h.id {
		return // becoming the leader takes a while; its own note is no news
	}
	note, err := standby.ParseNote(l.Note)
	if err != nil {
		note = nil // nobody leads, or has just begun to
	} else {
		h.log.Info("another hub leads", "hub", l.Hub, "term", l.Term)
	}
	h.standby.Follow(l.Term, note)
	if note != nil {
		h.discard()
	}
}

// discard removes what is left of this hub's own staging area while another hub leads, which has given up what was only
// there.
func (h *hub) discard() {
	h.discarding.Lock()
	defer h.discarding.Unlock()
	if h.Hubs.SharedDir != "" || h.leads.Load() {
		return
	}
	if err := staging.Discard(h.areaDir()); err != nil {
		h.log.Warn("the staging area of an earlier life was not removed", "error", err)
	}
}

// lead tells the others that this hub takes requests, and ends the process when another hub may lead: what this one
// remembers is worth nothing then, and a fresh start makes it a candidate again.
func (h *hub) lead(ctx context.Context, lost <-chan struct{}) error {
	if h.standby != nil {
		h.standby.Lead()
		if err := h.records.Publish(ctx, h.note); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case <-lost:
		return fault.New(fault.Unavailable, "NOT_LEADER", "this hub no longer leads; start it again to make it a candidate")
	}
}

// health says what the hub does.
func (h *hub) health() (string, error) {
	switch {
	case h.leads.Load():
		return "leader", nil
	case h.standby != nil:
		return "standby", nil
	default:
		return "", fault.New(fault.Unavailable, "STARTING", "the hub is starting")
	}
}
