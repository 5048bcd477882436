package identity

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/pki"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

func TestJoin(t *testing.T) {
	h, o := setup(t)
	expires, err := Join(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := h.clock.now().Add(life); !expires.Equal(want) {
		t.Errorf("expires %v, want %v", expires, want)
	}
	st, err := os.Stat(file(o.StateDir))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	id, err := pki.Load(file(o.StateDir))
	if err != nil {
		t.Fatal(err)
	}
	if site, err := pki.VerifyAgent(h.clock.now(), h.ca.Certificates(), id.Cert); err != nil || site != "dcn0" {
		t.Errorf("certificate of %q, %v", site, err)
	}
}

// TestJoinFails checks that each failure is named and leaves the state directory as it was.
func TestJoinFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		class   fault.Class
		reason  string
		text    string
		asked   int // calls that reach the hub
		prepare func(h *fakeHub, o *JoinOptions)
	}{
		{"malformed token", fault.Invalid, "INVALID_FIELD", "not a join token", 0, func(_ *fakeHub, o *JoinOptions) { o.Token = "atoll1.xyz" }},
		{"token of another site", fault.Invalid, "INVALID_FIELD", "site dcn1", 0, func(h *fakeHub, o *JoinOptions) { o.Token = h.token("dcn1") }},
		{"used token", fault.Denied, "TOKEN_INVALID", "does not work", 1, func(h *fakeHub, _ *JoinOptions) { h.token("dcn0") }},
		{"expired token", fault.Denied, "TOKEN_EXPIRED", "yesterday", 1, func(h *fakeHub, _ *JoinOptions) {
			h.failNext(fault.New(fault.Denied, "TOKEN_EXPIRED", "the join token expired yesterday"))
		}},
		{"wrong CA", fault.Unauthenticated, "WRONG_CA", "not the one that issued the token", 0, func(h *fakeHub, o *JoinOptions) {
			o.Hub = startHub(h.t, h.clock).addr
		}},
		{"hub away", fault.Unavailable, "UNREACHABLE", "cannot be reached", 0, func(_ *fakeHub, o *JoinOptions) { o.Hub = "127.0.0.1:1" }}, // nobody gets that port by chance
		{"certificate of somebody else's key", fault.Precondition, "BAD_ANSWER", "cannot use", 1, func(h *fakeHub, _ *JoinOptions) {
			key, _ := pki.NewKey()
			cert, err := h.ca.IssueAgent("dcn0", &key.PublicKey, h.clock.now(), life)
			if err != nil {
				h.t.Fatal(err)
			}
			h.answer = func(a *agentv1.RenewResponse) { a.Certificate = cert.Raw }
		}},
		{"rubbish", fault.Precondition, "BAD_ANSWER", "cannot use", 1, func(h *fakeHub, _ *JoinOptions) {
			h.answer = func(a *agentv1.RenewResponse) { a.Certificate = []byte("hello") }
		}},
		{"no CA", fault.Unauthenticated, "CERT_FOREIGN", "not issued", 1, func(h *fakeHub, _ *JoinOptions) {
			h.answer = func(a *agentv1.RenewResponse) { a.CaCertificates = nil }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, o := setup(t)
			h.t = t
			c.prepare(h, &o)
			_, err := Join(t.Context(), o)
			if !fault.Is(err, c.class) || fault.ReasonOf(err) != c.reason || !strings.Contains(fault.Public(err), c.text) {
				t.Errorf("got %v %s: %v", fault.ClassOf(err), fault.ReasonOf(err), err)
			}
			if strings.Contains(err.Error(), o.Token) {
				t.Error("the error repeats the token")
			}
			if n := h.asked(); n != c.asked {
				t.Errorf("the hub was asked %d times, want %d", n, c.asked)
			}
			if files, _ := os.ReadDir(o.StateDir); len(files) != 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	h, o := setup(t)
	c := KeeperConfig{StateDir: o.StateDir, Site: "dcn0", Hub: h.addr, Now: h.clock.now, Log: hclog.NewNullLogger()}
	_, err := Open(c)
	if fault.ReasonOf(err) != "NOT_JOINED" || !strings.Contains(fault.Public(err), "atoll-agent join") {
		t.Errorf("before join: %v", err)
	}
	if _, err := Join(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if left := k.due.Sub(h.clock.now()); left < life*6/10 || left > life*8/10 {
		t.Errorf("renewal is due in %v of %v", left, life)
	}
	c.Site = "dcn1"
	if _, err := Open(c); fault.ReasonOf(err) != "WRONG_SITE" {
		t.Errorf("another site: %v", err)
	}
	if err := os.WriteFile(file(o.StateDir), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Site = "dcn0"
	if _, err := Open(c); fault.ReasonOf(err) != "BAD_IDENTITY" {
		t.Errorf("damaged: %v", err)
	}
}

// TestRenewalsAreSpread checks that agents that joined at the same moment do not renew at the same moment.
func TestRenewalsAreSpread(t *testing.T) {
	_, o, k, _ := joined(t)
	first, last := k.due, k.due
	for range 50 {
		next, err := Open(k.KeeperConfig)
		if err != nil {
			t.Fatal(err)
		}
		if next.due.Before(first) {
			first = next.due
		}
		if next.due.After(last) {
			last = next.due
		}
	}
	if last.Sub(first) < 6*time.Hour {
		t.Errorf("all of %s renew between %v and %v", o.Site, first, last)
	}
}
