package identity

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/pki"
)

func TestRenew(t *testing.T) {
	h, o, k, log := joined(t)
	first := k.Current()
	k.step(t.Context())
	if h.asked() != 1 || k.Current() != first {
		t.Fatal("renewed at once")
	}
	h.clock.advance(life * 2 / 3)
	h.clock.advance(life / 20)
	k.step(t.Context())
	second := k.Current()
	if second == first || !second.Cert.NotAfter.After(first.Cert.NotAfter) || second.Key.Equal(first.Key) {
		t.Fatalf("not renewed: %s", log)
	}
	onDisk, err := pki.Load(file(o.StateDir))
	if err != nil || !onDisk.Cert.Equal(second.Cert) {
		t.Errorf("the file holds another certificate: %v", err)
	}
	k.step(t.Context())
	if h.asked() != 2 {
		t.Errorf("%d calls: renewed again at once", h.asked())
	}
}

// TestRenewalsDoNotFollowEachOther checks that an agent whose clock runs far ahead does not renew without end.
func TestRenewalsDoNotFollowEachOther(t *testing.T) {
	h, _, k, _ := joined(t)
	ahead := &clock{t: h.clock.now().Add(life * 9 / 10)}
	k.Now = ahead.now
	for range 10 * 60 {
		k.step(t.Context())
		ahead.advance(time.Second)
	}
	if n := h.asked() - 1; n < 5 || n > 11 {
		t.Errorf("renewed %d times in 10 minutes", n)
	}
}

// TestRenewIsRepeated checks that a hub that is away or refuses is asked again, with growing waits, and soon enough.
func TestRenewIsRepeated(t *testing.T) {
	h, _, k, log := joined(t)
	first := k.Current()
	h.clock.advance(life * 3 / 4)
	refused := fault.New(fault.Denied, "CERT_REVOKED", "the certificate has been revoked")
	h.failNext(refused, refused, fault.New(fault.Unavailable, "ETCD", "no quorum"))
	for range 3 {
		k.step(t.Context())
		if k.Current() != first {
			t.Fatal("the identity changed")
		}
		before := h.asked()
		k.step(t.Context())
		if h.asked() != before {
			t.Fatal("asked again without a wait")
		}
		wait := k.due.Sub(h.clock.now())
		if wait <= 0 || wait > 2*time.Hour {
			t.Fatalf("waits %v", wait)
		}
		h.clock.advance(wait)
	}
	if out := log.String(); !strings.Contains(out, "CERT_REVOKED") || !strings.Contains(out, "expires=2026-03-31") {
		t.Errorf("the log does not say why, or until when there is time:\n%s", out)
	}
	k.step(t.Context())
	if k.Current() == first {
		t.Error("not renewed in the end")
	}
}

// TestJoinWhileRunning checks that a join replaces the identity of a running agent.
func TestJoinWhileRunning(t *testing.T) {
	h, o, k, _ := joined(t)
	first := k.Current()
	o.Token = h.token("dcn0")
	if _, err := Join(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if k.Current() != first {
		t.Fatal("replaced before the keeper has looked")
	}
	k.step(t.Context())
	if k.Current().Key.Equal(first.Key) {
		t.Error("the new identity is not in use")
	}
}

// TestBadFileIsReportedOnce checks that the identity in use survives what happens to the file.
func TestBadFileIsReportedOnce(t *testing.T) {
	_, o, k, log := joined(t)
	first := k.Current()
	if err := os.WriteFile(file(o.StateDir), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.step(t.Context())
	k.step(t.Context())
	if err := os.Remove(file(o.StateDir)); err != nil {
		t.Fatal(err)
	}
	k.step(t.Context())
	if k.Current() != first {
		t.Error("the identity in use is gone")
	}
	if n := strings.Count(log.String(), "BAD_IDENTITY"); n != 1 {
		t.Errorf("reported %d times:\n%s", n, log)
	}
}

// TestRun checks that Run ends with its context while a call is under way.
func TestRun(t *testing.T) {
	h, _, k, _ := joined(t)
	h.clock.advance(life * 3 / 4)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	h.mu.Lock() // the hub does not answer
	defer h.mu.Unlock()
	before := h.begun.Load()
	go func() { done <- k.Run(ctx) }()
	late := time.After(patience)
	for h.begun.Load() == before {
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatal("the hub was not asked")
		}
	}
	cancel()
	if err := receive(t, done, "the keeper to stop"); err != nil {
		t.Error(err)
	}
}
