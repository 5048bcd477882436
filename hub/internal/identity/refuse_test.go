package identity

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// get fetches from the frames port and returns the status, the body and whether the hub closes the connection.
func (h *hub) get(id *pki.Identity) (status int, body string, closed bool) {
	h.t.Helper()
	tr := &http.Transport{TLSClientConfig: pki.ClientConfig(h.clock.now, func() *pki.Identity { return id }, "http/1.1")}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Get(h.frames.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Close
}

// counted returns the metric of refusals with a reason.
func (h *hub) counted(reason string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "atoll_identity_refusals_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// forge returns an identity from a CA without any record of it. The agent trusts this hub, whoever signed.
func (h *hub) forge(ca *pki.CA, site image.SiteID) *pki.Identity {
	h.t.Helper()
	id, _ := newCSR(h.t)
	cert, err := ca.IssueAgent(site, &id.Key.PublicKey, h.clock.now(), certLife)
	if err != nil {
		h.t.Fatal(err)
	}
	id.Cert, id.CAs = cert, h.CA.Certificates()
	return id
}

// TestRefusals drives every way to be refused over both ports, and looks at both ends.
func TestRefusals(t *testing.T) {
	foreign, err := pki.OpenCA(t.TempDir(), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason  string
		class   fault.Class
		status  int
		site    image.SiteID // whose record shows it; "" when nobody's
		present func(h *hub) *pki.Identity
	}{
		{"CERT_FOREIGN", fault.Unauthenticated, 401, "dcn0", func(h *hub) *pki.Identity { return h.forge(foreign, "dcn0") }},
		{"CERT_BAD_SITE", fault.Unauthenticated, 401, "", func(h *hub) *pki.Identity { return h.forge(h.CA, "Not A Site") }},
		{"CERT_UNKNOWN", fault.Denied, 403, "dcn0", func(h *hub) *pki.Identity { return h.forge(h.CA, "dcn0") }},
		{"SITE_UNKNOWN", fault.Denied, 403, "", func(h *hub) *pki.Identity { return h.forge(h.CA, "dcn9") }},
		{"CERT_EXPIRED", fault.Unauthenticated, 401, "dcn0", func(h *hub) *pki.Identity {
			id := h.joined("dcn0")
			h.clock.advance(certLife + time.Second)
			return id
		}},
		{"CERT_NOT_YET_VALID", fault.Unauthenticated, 401, "dcn0", func(h *hub) *pki.Identity {
			h.clock.advance(time.Hour) // the clock of whoever issued it is ahead
			id := h.forge(h.CA, "dcn0")
			h.clock.advance(-time.Hour)
			return id
		}},
		{"CERT_REVOKED", fault.Denied, 403, "dcn0", func(h *hub) *pki.Identity {
			id := h.joined("dcn0")
			if n, err := h.Revoke(h.t.Context(), "dcn0"); n != 1 || err != nil {
				h.t.Errorf("revoked %d, %v", n, err)
			}
			return id
		}},
		{"SITE_UNKNOWN", fault.Denied, 403, "", func(h *hub) *pki.Identity {
			id := h.joined("dcn0")
			if err := h.Catalog.DeleteSite(h.t.Context(), "dcn0"); err != nil {
				h.t.Error(err)
			}
			return id
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := startHub(t, "dcn0")
			id := c.present(h)
			_, err := h.connect(id)
			wantReason(t, "session", err, c.class, c.reason)
			_, err = h.renew(id)
			wantReason(t, "renewal", err, c.class, c.reason)

			status, body, closed := h.get(id)
			var problem struct{ Reason, Message string }
			if err := json.Unmarshal([]byte(body), &problem); err != nil || status != c.status || problem.Reason != c.reason || problem.Message == "" {
				t.Errorf("frames: %d %s (%v)", status, body, err)
			}
			if !closed {
				t.Error("the refused connection stays open, and with it the refused certificate in use")
			}

			if log := h.log.String(); strings.Count(log, "agent refused") != 1 || !strings.Contains(log, c.reason) || !strings.Contains(log, "127.0.0.1") {
				t.Errorf("the log should tell of it, once:\n%s", log)
			}
			reason, at := h.LastRefusal("dcn0")
			if c.site == "" && reason != "" || c.site != "" && (!strings.HasPrefix(reason, c.reason) || !at.Equal(h.clock.now())) {
				t.Errorf("last refusal of dcn0: %q at %v", reason, at)
			}
			if n := h.counted(c.reason); n != 3 {
				t.Errorf("counted %v refusals, want 3", n)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	h := startHub(t, "dcn0", "dcn1")
	for _, site := range []image.SiteID{"dcn0", "dcn1"} {
		id := h.joined(site)
		if got, err := h.connect(id); err != nil || got != string(site) {
			t.Errorf("session of %s: %q, %v", site, got, err)
		}
		if got := h.expiry(); !got.Equal(id.Cert.NotAfter) {
			t.Errorf("the session of %s may last until %s, want %s", site, got, id.Cert.NotAfter)
		}
		if status, body, _ := h.get(id); status != 200 || body != string(site) {
			t.Errorf("frames of %s: %d %q", site, status, body)
		}
	}
}

// TestNoCertificate checks that only Join works without one.
func TestNoCertificate(t *testing.T) {
	h := startHub(t, "dcn0")
	token := h.token("dcn0")
	tr := &http.Transport{TLSClientConfig: pki.JoinConfig(h.clock.now, token.Fingerprint, "http/1.1")}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Get(h.frames.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusUnauthorized {
		t.Errorf("frames: %s", r.Status)
	}
	if _, _, err := Caller(t.Context()); fault.ReasonOf(err) != "CERT_MISSING" || !Expiry(t.Context()).IsZero() {
		t.Errorf("Caller outside a call: %v", err)
	}
}

// TestAgentOfAnotherHub checks that an agent that does not trust this hub says so, and that this hub notices.
func TestAgentOfAnotherHub(t *testing.T) {
	here, there := startHub(t, "dcn0"), startHub(t, "dcn0")
	id := there.joined("dcn0")
	_, err := here.connect(id)
	wantReason(t, "session", err, fault.Unauthenticated, "HUB_FOREIGN")
	if _, err := here.join(there.token("dcn0")); fault.ReasonOf(err) != "HUB_FOREIGN" {
		t.Errorf("join with a token of another hub: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); here.counted("HANDSHAKE_FAILED") < 2; {
		if time.Now().After(deadline) {
			t.Fatal("the hub has not noticed")
		}
		if err := retry.Sleep(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusalLogIsBounded(t *testing.T) {
	h := startHub(t, "dcn0")
	e := fault.New(fault.Unauthenticated, "CERT_FOREIGN", "no")
	for i := range 3 * mostLogs {
		h.refused.noteSite(image.SiteID("s"+string(rune('a'+i%26))), string(rune(i+1)), e)
	}
	if len(h.refused.logged) > mostLogs || len(h.refused.sites) != 0 {
		t.Errorf("%d addresses and %d unknown sites are remembered", len(h.refused.logged), len(h.refused.sites))
	}
	before := strings.Count(h.log.String(), "agent refused")
	h.clock.advance(repeatLog)
	h.refused.noteSite("dcn0", string(rune(1)), e)
	if strings.Count(h.log.String(), "agent refused") != before+1 {
		t.Error("a refusal after a minute of silence is not logged")
	}
}

func TestRevoke(t *testing.T) {
	h := startHub(t, "dcn0")
	token := h.token("dcn0")
	if n, err := h.Revoke(t.Context(), "dcn0"); n != 0 || err != nil {
		t.Errorf("revoked %d, %v", n, err)
	}
	_, err := h.join(token)
	wantReason(t, "a revoked token", err, fault.Denied, "TOKEN_INVALID")
	_, err = h.Revoke(t.Context(), "nowhere")
	wantReason(t, "unknown site", err, fault.NotFound, "SITE_NOT_FOUND")

	id := h.joined("dcn0")
	if _, err := h.renew(id); err != nil {
		t.Fatal(err)
	}
	if n, _ := h.Revoke(t.Context(), "dcn0"); n != 2 {
		t.Errorf("revoked %d, want 2", n)
	}
	if s, _ := h.records.Site("dcn0"); len(s.GetCertificates()) != 2 {
		t.Errorf("revoked certificates must stay known: %v", s)
	}
	if n, _ := h.Revoke(t.Context(), "dcn0"); n != 0 {
		t.Errorf("revoked %d again", n)
	}
}
