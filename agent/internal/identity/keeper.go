package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// look is how often the keeper looks whether the file has changed or a renewal is due.
const look = time.Second

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	StateDir string
	Site     image.SiteID // of the configuration
	Hub      string       // HOST:PORT of the hub's link
	Version  string       // of this software
	Log      hclog.Logger
	Now      func() time.Time
}

// Keeper holds the current identity. Its methods may be called from several goroutines; Run once.
type Keeper struct {
	KeeperConfig

	mu      sync.Mutex
	current *pki.Identity

	// Only Run and what it calls use these.
	seen    fs.FileInfo // the file as it was read
	due     time.Time   // when the next renewal is tried
	backoff *retry.Backoff
}

// Open loads the identity. A Precondition error with reason NOT_JOINED says that there is none yet, WRONG_SITE that it
// belongs to another site than the configuration names.
func Open(c KeeperConfig) (*Keeper, error) {
	k := &Keeper{KeeperConfig: c}
	return k, k.load()
}

// Current returns the identity to use for a new connection.
func (k *Keeper) Current() *pki.Identity {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// load reads the file.
func (k *Keeper) load() error {
	info, err := os.Stat(file(k.StateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Precondition, "NOT_JOINED",
			"this agent has no certificate yet: run `atoll-agent join` with a token that `atollctl site create %s` prints", k.Site)
	}
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	id, err := pki.Load(file(k.StateDir))
	if err != nil {
		return err
	}
	if site, ok := pki.ClaimedSite(id.Cert); !ok || site != k.Site {
		return fault.New(fault.Precondition, "WRONG_SITE", "site: the configuration says %s, the certificate is for %q; join again", k.Site, site)
	}
	k.use(id, info)
	return nil
}

// use makes id the current identity and plans its renewal, spread over a tenth of the time left so that agents that joined
// together do not renew together, and not at once even if the clocks disagree so much that it seems due.
func (k *Keeper) use(id *pki.Identity, info fs.FileInfo) {
	k.mu.Lock()
	k.current = id
	k.mu.Unlock()
	at := pki.RenewAt(id.Cert)
	left := id.Cert.NotAfter.Sub(at)
	k.seen = info
	k.due = at.Add(rand.N(left/10 + 1)) //nolint:gosec // no secret
	now := k.Now()
	if soon := now.Add(min(time.Minute, id.Cert.NotAfter.Sub(now)/4)); k.due.Before(soon) {
		k.due = soon
	}
	k.backoff = retry.Policy{Initial: max(look, min(left/64, time.Minute)), Max: max(2*look, min(left/8, time.Hour))}.Backoff()
}

// Run renews the certificate when it is time, and picks up one that a join has written, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			k.step(ctx)
		}
	}
}

// step does what is due.
func (k *Keeper) step(ctx context.Context) {
	info, err := os.Stat(file(k.StateDir))
	if err == nil && !same(info, k.seen) {
		k.seen = info // a bad file is reported once
		if err := k.load(); err != nil {
			k.Log.Error("new identity not usable; keeping the one in use", "reason", fault.ReasonOf(err), "error", err)
			return
		}
		k.Log.Info("new identity in use", "expires", stamp(k.Current().Cert.NotAfter))
	}
	if k.Now().Before(k.due) {
		return
	}
	if err := k.renew(ctx); err != nil && ctx.Err() == nil {
		wait := k.backoff.Next()
		k.due = k.Now().Add(wait)
		k.Log.Error("certificate not renewed", "reason", fault.ReasonOf(err), "error", err,
			"expires", stamp(k.Current().Cert.NotAfter), "next_attempt_in", wait.Round(time.Second))
	}
}

// renew asks the hub for another certificate, with a new key.
func (k *Keeper) renew(ctx context.Context) error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(key)
	if err != nil {
		return err
	}
	conn, err := dial(k.Hub, pki.ClientConfig(k.Now, k.Current), k.Version)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := agentv1.NewEnrollmentServiceClient(conn).Renew(ctx, &agentv1.RenewRequest{Csr: csr})
	if err != nil {
		return err
	}
	id, err := accept(key, k.Now(), k.Site, answer.GetCertificate(), answer.GetCaCertificates())
	if err != nil {
		return err
	}
	if info, err := os.Stat(file(k.StateDir)); err == nil && !same(info, k.seen) {
		return nil // a join was faster; the next step picks it up
	}
	// On disk first: an identity that is in use must survive a restart.
	if err := id.Save(file(k.StateDir)); err != nil {
		return err
	}
	info, err := os.Stat(file(k.StateDir))
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	k.use(id, info)
	k.Log.Info("certificate renewed", "expires", stamp(id.Cert.NotAfter))
	return nil
}

// same reports whether a file is still the one that was read.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
