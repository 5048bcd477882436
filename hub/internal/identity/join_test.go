package identity

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/pki"
)

func wantReason(t *testing.T, what string, err error, class fault.Class, reason string) {
	t.Helper()
	if !fault.Is(err, class) || fault.ReasonOf(err) != reason {
		t.Errorf("%s: got %v %s (%v), want %v %s", what, fault.ClassOf(err), fault.ReasonOf(err), err, class, reason)
	}
}

func TestJoin(t *testing.T) {
	h := startHub(t, "dcn0", "dcn1")
	token := h.token("dcn0")
	id, err := h.join(token)
	if err != nil {
		t.Fatal(err)
	}
	if site, err := h.connect(id); err != nil || site != "dcn0" {
		t.Errorf("connected as %q, %v", site, err)
	}
	_, err = h.join(token)
	wantReason(t, "a used token", err, fault.Denied, "TOKEN_INVALID")

	old := h.token("dcn0")
	fresh := h.token("dcn0")
	_, err = h.join(old)
	wantReason(t, "a replaced token", err, fault.Denied, "TOKEN_INVALID")

	h.clock.advance(tokenLife)
	_, err = h.join(fresh)
	wantReason(t, "an expired token", err, fault.Denied, "TOKEN_EXPIRED")
	if reason, _ := h.LastRefusal("dcn0"); !strings.HasPrefix(reason, "TOKEN_EXPIRED") {
		t.Errorf("last refusal %q", reason)
	}
	_, err = h.join(pki.JoinToken{Site: "dcn0", Fingerprint: h.CA.Fingerprint()})
	wantReason(t, "an empty secret", err, fault.Denied, "TOKEN_INVALID")
	_, _, err = h.CreateToken(t.Context(), "nowhere")
	wantReason(t, "a token for an unknown site", err, fault.NotFound, "SITE_NOT_FOUND")
}

// TestJoinReplacesTheAgentBefore checks that a join revokes what the site had, and nothing of other sites.
func TestJoinReplacesTheAgentBefore(t *testing.T) {
	h := startHub(t, "dcn0", "dcn1")
	first, other := h.joined("dcn0"), h.joined("dcn1")
	second := h.joined("dcn0")
	_, err := h.connect(first)
	wantReason(t, "the earlier certificate", err, fault.Denied, "CERT_REVOKED")
	for _, id := range []*pki.Identity{second, other} {
		if _, err := h.connect(id); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenIsStoredHashed(t *testing.T) {
	h := startHub(t, "dcn0")
	token := h.token("dcn0")
	s, _ := h.records.Site("dcn0")
	if strings.Contains(s.String(), token.Secret) || len(s.GetJoinTokenHash()) != 32 {
		t.Errorf("record %v", s)
	}
	if strings.Contains(h.log.String(), token.Secret) {
		t.Error("the log holds the secret")
	}
}

// TestTokenWorksOnce races joins with one token.
func TestTokenWorksOnce(t *testing.T) {
	h := startHub(t, "dcn0")
	token := h.token("dcn0")
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		wg.Go(func() {
			_, err := h.join(token)
			results <- err
		})
	}
	wg.Wait()
	close(results)
	joined := 0
	for err := range results {
		if err == nil {
			joined++
			continue
		}
		wantReason(t, "a loser", err, fault.Denied, "TOKEN_INVALID")
	}
	if joined != 1 {
		t.Errorf("%d joins succeeded", joined)
	}
}

// TestNoCertificateIsHandedOutUnrecorded checks that an agent gets nothing when its certificate could not be recorded.
func TestNoCertificateIsHandedOutUnrecorded(t *testing.T) {
	h := startHub(t, "dcn0")
	token := h.token("dcn0")
	h.records.FailNext(fault.New(fault.Unavailable, "ETCD", "no quorum"))
	_, err := h.join(token)
	wantReason(t, "join", err, fault.Unavailable, "ETCD")
	h.records.FailNext(errors.New("disk on fire"))
	_, err = h.join(token)
	wantReason(t, "join", err, fault.Internal, "INTERNAL")
	h.records.FailNext(fault.New(fault.Conflict, "RECORD_CHANGED", "lost a race")) // is repeated
	if _, err := h.join(token); err != nil {
		t.Errorf("the token no longer works: %v", err)
	}
}

func TestJoinIsRateLimited(t *testing.T) {
	h := startHub(t, "dcn0")
	bad := pki.JoinToken{Site: "dcn0", Secret: strings.Repeat("0", 64), Fingerprint: h.CA.Fingerprint()}
	for range joinsPerMinute {
		_, err := h.join(bad)
		wantReason(t, "a guess", err, fault.Denied, "TOKEN_INVALID")
	}
	good := h.token("dcn0")
	_, err := h.join(good)
	wantReason(t, "one guess too many", err, fault.Exhausted, "TOO_MANY_JOINS")
	h.clock.advance(time.Minute)
	if _, err := h.join(good); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestLimiterIsBounded(t *testing.T) {
	c := &clock{}
	l := newLimiter(c.now)
	for i := range mostAddresses {
		if !l.allow(string(rune(i + 1))) {
			t.Fatalf("address %d refused", i)
		}
	}
	if l.allow("one more") || len(l.count) > mostAddresses {
		t.Errorf("%d addresses are remembered", len(l.count))
	}
}

func TestRenew(t *testing.T) {
	h := startHub(t, "dcn0")
	id := h.joined("dcn0")
	for range 10 { // an agent that renews for years
		h.clock.advance(certLife * 2 / 3)
		next, err := h.renew(id)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*pki.Identity{"old": id, "new": next} {
			if site, err := h.connect(c); err != nil || site != "dcn0" {
				t.Fatalf("%s certificate: %q, %v", name, site, err)
			}
		}
		id = next
	}
	s, _ := h.records.Site("dcn0")
	if n := len(s.GetCertificates()); n != 2 {
		t.Errorf("%d certificates are recorded; those that expired should be gone", n)
	}
	for range mostCertificates + 2 { // an agent gone mad
		if _, err := h.renew(id); err != nil && fault.ReasonOf(err) != "CERT_UNKNOWN" { // its own was dropped as the oldest
			t.Fatal(err)
		}
	}
	if s, _ := h.records.Site("dcn0"); len(s.GetCertificates()) > mostCertificates {
		t.Errorf("%d certificates are recorded", len(s.GetCertificates()))
	}
}

func TestRenewNeedsACertificate(t *testing.T) {
	h := startHub(t, "dcn0")
	id := h.joined("dcn0")
	if _, err := h.Revoke(t.Context(), "dcn0"); err != nil {
		t.Fatal(err)
	}
	_, err := h.renew(id)
	wantReason(t, "renewing a revoked certificate", err, fault.Denied, "CERT_REVOKED")
}
