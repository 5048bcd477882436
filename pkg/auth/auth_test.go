package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

const (
	userToken    = "user-token-0123456789"
	nodeToken    = "node-token-0123456789"
	serviceToken = "nova-token-0123456789"
)

func sum(token string) string {
	d := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(d[:])
}

func writeTokens(t *testing.T, file, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }
func newClock() *clock                   { return &clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func tokensText() string {
	return `
tokens:
- {token: ` + userToken + `, user: alice, project: demo, roles: [Member], expires: "2026-11-21T13:00:00Z"}
- {token: "` + sum(nodeToken) + `", user: node, project: services, roles: [reader], site: dcn0}
- {token: ` + serviceToken + `, user: nova, project: services, roles: [service, admin], service: true}
`
}

func TestStaticTokens(t *testing.T) {
	c := newClock()
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	writeTokens(t, file, tokensText(), c.at)
	tokens, err := OpenTokens(file, c.now, nil)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := tokens.Verify(t.Context(), userToken, "")
	if err != nil {
		t.Fatal(err)
	}
	if alice.UserID != "alice" || alice.ProjectID != "demo" || !slices.Equal(alice.Roles, []string{"member", "reader"}) {
		t.Errorf("alice is %+v", alice)
	}
	if want := c.at.Add(time.Hour); !alice.Expires.Equal(want) {
		t.Errorf("alice expires %v, want %v", alice.Expires, want)
	}
	node, err := tokens.Verify(t.Context(), nodeToken, serviceToken)
	if err != nil {
		t.Fatal(err)
	}
	if node.Site != "dcn0" || node.ServiceUserID != "nova" || !slices.Contains(node.ServiceRoles, "service") || node.HasRole("admin") {
		t.Errorf("the node is %+v", node)
	}
	for name, bad := range map[string][2]string{
		"none": {"", ""}, "unknown": {userToken + "x", ""}, "digest instead of token": {sum(nodeToken), ""},
		"unknown service token": {userToken, "wrong"}, "service token of a user": {userToken, nodeToken},
	} {
		if who, err := tokens.Verify(t.Context(), bad[0], bad[1]); !fault.Is(err, fault.Unauthenticated) || who != nil {
			t.Errorf("%s: %v, %v, want Unauthenticated", name, who, err)
		}
	}
	c.advance(time.Hour)
	if _, err := tokens.Verify(t.Context(), userToken, ""); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("an expired token: %v, want Unauthenticated", err)
	}
}

func TestStaticTokensAreReadAgain(t *testing.T) {
	c := newClock()
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	writeTokens(t, file, tokensText(), c.at)
	tokens, err := OpenTokens(file, c.now, nil)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(token string) error {
		_, err := tokens.Verify(t.Context(), token, "")
		return err
	}
	const added = "another-token-0123456789"
	writeTokens(t, file, "tokens:\n- {token: "+added+", user: bob, project: demo}\n", c.at.Add(time.Minute))
	if err := verify(userToken); err != nil {
		t.Errorf("the file was looked at again at once: %v", err)
	}
	for range 2 {
		c.advance(time.Second)
		_ = verify(added)
	}
	if err := verify(added); err != nil {
		t.Errorf("a token that was added: %v", err)
	}
	if err := verify(userToken); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a token that was removed: %v, want Unauthenticated", err)
	}
	for _, spoil := range []struct {
		name string
		do   func()
	}{
		{"wrong text", func() { writeTokens(t, file, "tokens: 5\n", c.at.Add(2*time.Minute)) }},
		{"open mode", func() {
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"missing", func() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		spoil.do()
		for range 3 {
			c.advance(time.Second)
			if err := verify(added); err != nil {
				t.Errorf("%s: the tokens did not stay as they were: %v", spoil.name, err)
			}
		}
	}
}

func TestStaticTokenFilesThatAreRefused(t *testing.T) {
	const entry = "tokens:\n- {token: " + userToken + ", user: a, project: p"
	for name, test := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others may read": {entry + "}", 0o644, "0644"},
		"group may write": {entry + "}", 0o660, "0660"},
		"short":           {"tokens:\n- {token: short, user: a, project: p}", 0o600, "characters"},
		"bad digest":      {"tokens:\n- {token: 'sha256:12', user: a, project: p}", 0o600, "64 hex"},
		"long digest":     {"tokens:\n- {token: '" + sum("x") + "00', user: a, project: p}", 0o600, "64 hex"},
		"no user":         {"tokens:\n- {token: " + userToken + ", project: p}", 0o600, "user"},
		"bad site":        {entry + ", site: Not_A_Site}", 0o600, "site"},
		"bad time":        {entry + ", expires: tomorrow}", 0o600, "expires"},
		"unknown key":     {entry + ", role: admin}", 0o600, "entries with"},
		"twice":           {entry + "}\n- {token: '" + sum(userToken) + "', user: b, project: p}", 0o600, "twice"},
		"key twice":       {"tokens: []\ntokens: []", 0o600, "twice"},
		"not YAML":        {"tokens: [", 0o600, "YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokens.yaml")
			writeTokens(t, file, test.text, time.Now())
			if err := os.Chmod(file, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := OpenTokens(file, nil, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), userToken) {
				t.Errorf("the error gives a token away: %v", err)
			}
		})
	}
	if _, err := OpenTokens(filepath.Join(t.TempDir(), "missing"), nil, nil); err == nil {
		t.Error("a missing file was taken")
	}
}

func TestNone(t *testing.T) {
	who, err := None("dcn0").Verify(t.Context(), "", "")
	if err != nil || !who.HasRole("admin") || who.Site != "dcn0" || who.ProjectID == "" {
		t.Errorf("got %+v, %v, want an administrator with a project", who, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := None("").Verify(ended, "", ""); err == nil {
		t.Error("a request that ended was answered")
	}
}

func TestLimiter(t *testing.T) {
	c := newClock()
	l := NewLimiter(2, 3, c.now)
	alice, bob := &Caller{UserID: "alice"}, &Caller{UserID: "bob"}
	for range 3 {
		if err := l.Allow(alice); err != nil {
			t.Fatalf("within the burst: %v", err)
		}
	}
	err := l.Allow(alice)
	if !fault.Is(err, fault.Exhausted) || fault.ReasonOf(err) != "RATE_LIMIT" {
		t.Fatalf("beyond the burst: %v, want RATE_LIMIT", err)
	}
	if wait, ok := RetryAfter(err); !ok || wait != time.Second {
		t.Errorf("wait %v, %v, want 1 s", wait, ok)
	}
	if err := l.Allow(bob); err != nil {
		t.Errorf("another user: %v", err)
	}
	c.advance(500 * time.Millisecond)
	if err := l.Allow(alice); err != nil {
		t.Errorf("after half a second: %v", err)
	}
	slow := NewLimiter(0.1, 1, c.now)
	if err := slow.Allow(nil); err != nil {
		t.Error(err)
	}
	if wait, _ := RetryAfter(slow.Allow(nil)); wait != 10*time.Second {
		t.Errorf("wait %v, want 10 s", wait)
	}
	off := NewLimiter(0, 1, c.now)
	for range 100 {
		if err := off.Allow(alice); err != nil {
			t.Fatalf("without a limit: %v", err)
		}
	}
	if _, ok := RetryAfter(fault.New(fault.Exhausted, "X", "x")); ok {
		t.Error("another error has a wait")
	}
}

func TestLimiterForgets(t *testing.T) {
	c := newClock()
	l := NewLimiter(1, 1, c.now)
	for i := range limitedUsers + 100 {
		if err := l.Allow(&Caller{UserID: hex.EncodeToString([]byte{byte(i), byte(i >> 8), byte(i >> 16)})}); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.buckets.Len(); n != limitedUsers {
		t.Errorf("%d users are remembered, want %d", n, limitedUsers)
	}
}
