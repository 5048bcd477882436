package keystone

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

var _ auth.Verifier = (*Verifier)(nil)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type bench struct {
	*Verifier
	fake  *fakeKeystone
	clock *clock
	log   *bytes.Buffer
}

func newBench(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{clock: newClock(), log: new(bytes.Buffer)}
	b.fake = newFake(t, b.clock.now)
	o := Options{
		AuthURL: b.fake.URL + "/v3/", Username: "glance", Password: "secret", Project: "service",
		Now: b.clock.now, Log: hclog.New(&hclog.LoggerOptions{Output: b.log}),
		Timeout: time.Minute, RefreshTimeout: time.Minute, // a busy machine is no Keystone that hangs
	}
	for _, f := range change {
		f(&o)
	}
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Verifier = v
	t.Cleanup(v.session.http.CloseIdleConnections)
	return b
}

// expect verifies a token and returns its caller; class Internal stands for success.
func (b *bench) expect(t *testing.T, tok, service string, class fault.Class) *auth.Caller {
	t.Helper()
	who, err := b.Verify(t.Context(), tok, service)
	if class == fault.Internal {
		if err != nil {
			t.Fatalf("Verify(%q, %q): %v", tok, service, err)
		}
	} else if !fault.Is(err, class) || who != nil {
		t.Fatalf("Verify(%q, %q) = %v, %v, want %v", tok, service, who, err, class)
	}
	return who
}

const valid = fault.Internal

func TestCallerFromToken(t *testing.T) {
	b := newBench(t)
	b.fake.issue("user", "u1", "Member", "READER")
	who := b.expect(t, "user", "", valid)
	want := auth.Caller{
		UserID: "u1", UserName: "name of u1", UserDomainID: "default", ProjectID: "p1", ProjectName: "demo", ProjectDomainID: "default",
	}
	got := *who
	got.Roles, got.Expires = nil, time.Time{}
	if got.UserID != want.UserID || got.UserName != want.UserName || got.UserDomainID != want.UserDomainID ||
		got.ProjectID != want.ProjectID || got.ProjectName != want.ProjectName || got.ProjectDomainID != want.ProjectDomainID {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !slices.Equal(who.Roles, []string{"member", "reader"}) || !who.Expires.Equal(b.clock.now().Add(time.Hour)) || who.NotAdminProject {
		t.Errorf("got %+v", who)
	}
	if q := b.fake.queries[0]; q != "nocatalog" {
		t.Errorf("asked with %q: the catalog is not needed", q)
	}

	b.fake.issue("system", "u2", "admin")
	b.fake.edit("system", func(body map[string]any) {
		delete(body, "project")
		body["system"] = map[string]bool{"all": true}
		body["is_admin_project"] = false
	})
	if who := b.expect(t, "system", "", valid); who.SystemScope != "all" || who.ProjectID != "" || !who.NotAdminProject {
		t.Errorf("a system token: %+v", who)
	}
	b.fake.issue("domain", "u3", "admin")
	b.fake.edit("domain", func(body map[string]any) {
		delete(body, "project")
		body["domain"] = map[string]string{"id": "d1"}
	})
	if who := b.expect(t, "domain", "", valid); who.DomainID != "d1" || who.ProjectID != "" {
		t.Errorf("a domain token: %+v", who)
	}
}

func TestAnswersAreRemembered(t *testing.T) {
	b := newBench(t)
	b.fake.issue("user", "u1", "member")
	first := b.expect(t, "user", "", valid)
	b.clock.advance(5*time.Minute - 1)
	if second := b.expect(t, "user", "", valid); second != first {
		t.Error("a token was verified twice within five minutes")
	}
	b.clock.advance(1)
	b.expect(t, "user", "", valid)
	if logins, asked := b.fake.counts(); logins != 1 || asked != 2 {
		t.Errorf("%d logins and %d questions, want 1 and 2", logins, asked)
	}
	b.fake.revoke("user")
	b.expect(t, "user", "", valid)
	b.clock.advance(5 * time.Minute)
	b.expect(t, "user", "", fault.Unauthenticated)
}

func TestRefusalsAreRememberedForShort(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.expect(t, "wrong", "", fault.Unauthenticated)
	}
	if _, asked := b.fake.counts(); asked != 1 {
		t.Errorf("%d questions about a token that was refused, want 1", asked)
	}
	b.fake.issue("wrong", "u1", "member")
	b.clock.advance(10 * time.Second)
	b.expect(t, "wrong", "", valid)
}

func TestTokensThatKeystoneIsNotAskedAbout(t *testing.T) {
	b := newBench(t)
	for _, tok := range []string{"", "a b", "a\nb", "é", "a\x00", strings.Repeat("a", maxToken+1)} {
		b.expect(t, tok, "", fault.Unauthenticated)
	}
	if logins, asked := b.fake.counts(); logins != 0 || asked != 0 {
		t.Errorf("%d logins and %d questions", logins, asked)
	}
}

// A text that Keystone cannot read is refused, and does not count as a Keystone that is away.
func TestTokensThatKeystoneCannotRead(t *testing.T) {
	b := newBench(t)
	b.fake.issue("user", "u1", "member")
	b.expect(t, "user", "", valid)
	b.clock.advance(6 * time.Minute)
	for _, code := range []mishap{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge} {
		b.fake.fail(code)
		b.expect(t, fmt.Sprint("odd", code), "", fault.Unauthenticated)
	}
	b.fake.revoke("user")
	b.expect(t, "user", "", fault.Unauthenticated) // it is asked about in spite of them
}

func TestExpiredTokens(t *testing.T) {
	b := newBench(t)
	b.fake.issue("user", "u1", "member")
	b.expect(t, "user", "", valid)
	b.clock.advance(58 * time.Minute)
	b.expect(t, "user", "", valid)
	b.clock.advance(2 * time.Minute) // the answer is two minutes old, but the token has ended
	b.expect(t, "user", "", fault.Unauthenticated)
}

func TestServiceTokens(t *testing.T) {
	b := newBench(t)
	b.fake.issue("user", "u1", "member")
	b.fake.issue("nova", "nova", "Service", "admin")
	b.fake.issue("other", "u2", "member")
	who := b.expect(t, "user", "nova", valid)
	if who.UserID != "u1" || who.ServiceUserID != "nova" || who.ServiceProjectID != "p1" || !slices.Equal(who.ServiceRoles, []string{"service", "admin"}) {
		t.Errorf("got %+v", who)
	}
	if alone := b.expect(t, "user", "", valid); alone.ServiceUserID != "" || alone.HasRole("admin") {
		t.Errorf("the service token stuck to the user: %+v", alone)
	}
	b.expect(t, "user", "wrong", fault.Unauthenticated)
	b.expect(t, "wrong", "nova", fault.Unauthenticated)

	b.clock.advance(time.Hour)
	b.fake.issue("nova", "nova", "service")
	b.fake.issue("other", "u2", "member")
	b.clock.advance(10 * time.Second)
	b.expect(t, "user", "", fault.Unauthenticated)
	b.expect(t, "user", "other", fault.Unauthenticated)
	if who := b.expect(t, "user", "nova", valid); who.UserID != "u1" {
		t.Errorf("beside a service token: %+v", who)
	}
	b.expect(t, "user", "", fault.Unauthenticated)
}

func TestOwnTokenIsRenewed(t *testing.T) {
	b := newBench(t)
	b.fake.issue("a", "u1", "member")
	b.expect(t, "a", "", valid)
	b.fake.fail(unknown)
	b.fake.issue("b", "u2", "member")
	b.expect(t, "b", "", valid)
	b.fake.fail(unknown)
	b.expect(t, "not-there", "", fault.Unauthenticated) // found out only after logging in again
	if logins, _ := b.fake.counts(); logins != 3 {
		t.Errorf("%d logins, want 3", logins)
	}
}

func TestWrongPassword(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Password = "wrong" })
	b.fake.issue("a", "u1", "member")
	b.expect(t, "a", "", fault.Unavailable)
	if !strings.Contains(b.log.String(), "answered 401") {
		t.Errorf("the log does not say why: %s", b.log)
	}
}

func TestKeystoneThatFails(t *testing.T) {
	for name, m := range map[string]mishap{"drops connections": drop, "is broken": broken, "talks nonsense": garbage} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fake.issue("known", "u1", "member")
			b.expect(t, "known", "", valid)
			b.clock.advance(6 * time.Minute)

			b.fake.fail(m)
			b.expect(t, "known", "", valid)
			if b.log.Len() > 0 {
				t.Errorf("a fault that was made good by asking again was logged: %s", b.log)
			}
			b.clock.advance(6 * time.Minute)
			b.fake.fail(m, m)
			b.expect(t, "known", "", valid)
			if !strings.Contains(b.log.String(), "go on until they expire") || strings.Contains(b.log.String(), "secret") {
				t.Errorf("logged: %s", b.log)
			}
			b.clock.advance(5 * time.Second)
			b.fake.fail(m, m)
			_, err := b.Verify(t.Context(), "new", "")
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("a new token: %v, want Unavailable", err)
			}
			if text := fault.Public(err); strings.Contains(text, "http") || strings.Contains(text, "127.0.0.1") {
				t.Errorf("users see %q", text)
			}
		})
	}
}

func TestKeystoneThatIsAway(t *testing.T) {
	b := newBench(t)
	b.fake.issue("known", "u1", "member")
	b.expect(t, "known", "", valid)
	b.clock.advance(6 * time.Minute)
	b.fake.fail(drop, drop)
	b.expect(t, "known", "", valid)
	_, before := b.fake.counts()
	for range 10 {
		b.expect(t, "known", "", valid)
		b.expect(t, "new", "", fault.Unavailable)
	}
	if _, asked := b.fake.counts(); asked != before {
		t.Errorf("%d questions within five seconds of failing", asked-before)
	}
	b.clock.advance(5 * time.Second)
	b.fake.issue("new", "u2", "member")
	b.expect(t, "new", "", valid)

	b.clock.advance(53 * time.Minute)
	b.fake.fail(drop, drop)
	b.expect(t, "known", "", valid)
	b.clock.advance(59 * time.Second)
	b.fake.fail(drop, drop)
	b.expect(t, "known", "", fault.Unavailable) // it has expired
}

func TestPausesGrow(t *testing.T) {
	b := newBench(t)
	b.fake.issue("known", "u1", "member")
	b.expect(t, "known", "", valid)
	b.clock.advance(6 * time.Minute)
	_, before := b.fake.counts()
	for range 16 {
		b.fake.fail(drop)
	}
	for range 120 {
		b.expect(t, "known", "", valid)
		b.expect(t, "new", "", fault.Unavailable)
		b.clock.advance(time.Second)
	}
	// At 0, 5, 15, 35 and 75 s, twice each.
	if _, asked := b.fake.counts(); asked-before != 10 {
		t.Errorf("%d questions in two minutes, want 10", asked-before)
	}
	b.clock.advance(time.Minute)
	b.fake.mu.Lock()
	b.fake.faults = nil
	b.fake.mu.Unlock()
	b.expect(t, "other", "", fault.Unauthenticated) // an answer: it is there again
	b.expect(t, "new", "", fault.Unauthenticated)
}

func TestKeystoneThatHangs(t *testing.T) {
	b := newBench(t, func(o *Options) { o.RefreshTimeout, o.Timeout = 50*time.Millisecond, time.Minute })
	b.fake.issue("known", "u1", "member")
	b.fake.issue("also", "u2", "member")
	b.expect(t, "known", "", valid)
	b.expect(t, "also", "", valid)
	b.clock.advance(6 * time.Minute)
	b.fake.mu.Lock()
	b.fake.hold = make(chan struct{})
	b.fake.mu.Unlock()
	b.expect(t, "known", "", valid)
	b.expect(t, "also", "", valid)              // does not wait at all
	if n := b.fake.askedAbout("also"); n != 1 { // at the beginning; the question about the other one may still be on its way
		t.Errorf("another token that is remembered was asked about %d times", n)
	}
	// A token that nobody knows is asked about: Keystone may only be slow.
	close(b.fake.hold)
	b.fake.issue("new", "u3", "member")
	b.expect(t, "new", "", valid)
}

func TestConcurrentMissesAskOnce(t *testing.T) {
	b := newBench(t)
	b.fake.issue("user", "u1", "member")
	b.fake.hold = make(chan struct{})
	first := make(chan error, 1)
	impatient, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := b.Verify(impatient, "user", "")
		first <- err
	}()
	b.fake.hold <- struct{}{} // the question is there, and waits for its answer
	const others = 50
	var wg sync.WaitGroup
	errs := make(chan error, others)
	for range others {
		wg.Go(func() {
			_, err := b.Verify(t.Context(), "user", "")
			errs <- err
		})
	}
	cancel() // whoever asks goes away; the answer is for the others too
	gone, stop := context.WithCancel(t.Context())
	stop()
	if _, err := b.Verify(gone, "user", ""); err == nil {
		t.Error("a request that ended was answered")
	}
	close(b.fake.hold)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	<-first
	if logins, asked := b.fake.counts(); logins != 1 || asked != 1 {
		t.Errorf("%d logins and %d questions, want one each", logins, asked)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := newBench(t, func(o *Options) { o.CacheSize = 3 })
	for _, id := range []string{"a", "b", "c", "d"} {
		b.fake.issue(id, "u1", "member")
		b.expect(t, id, "", valid)
		b.expect(t, "not-"+id, "", fault.Unauthenticated)
	}
	if b.known.Len() != 3 || b.refused.Len() != 3 {
		t.Errorf("%d tokens and %d refusals are remembered, want 3 each", b.known.Len(), b.refused.Len())
	}
}

func TestSlowKeystone(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	b.fake.issue("user", "u1", "member")
	b.fake.hold = make(chan struct{})
	defer close(b.fake.hold)
	b.expect(t, "user", "", fault.Unavailable)
}

func TestEndpoint(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Region = "R1" })
	b.fake.issue("user", "u1", "member")
	for _, test := range []struct{ token, service, iface, region, want string }{
		{"user", "image", "public", "", "http://r1"},
		{"user", "image", "admin", "", "http://r1.admin"},
		{"user", "image", "public", "R2", "http://r2/image"},
	} {
		got, err := b.Endpoint(t.Context(), test.token, test.service, test.iface, test.region)
		if err != nil || got != test.want {
			t.Errorf("%+v: got %q, %v", test, got, err)
		}
	}
	for class, test := range map[fault.Class][4]string{
		fault.NotFound:        {"user", "image", "public", "R3"},
		fault.Unauthenticated: {"wrong", "image", "public", "R1"},
	} {
		if _, err := b.Endpoint(t.Context(), test[0], test[1], test[2], test[3]); !fault.Is(err, class) {
			t.Errorf("%v: got %v", test, err)
		}
	}
	if _, err := b.Endpoint(t.Context(), "", "image", "public", ""); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	b := newBench(t)
	stolen := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("X-Subject-Token") }))
	t.Cleanup(thief.Close)
	b.fake.issue("user", "u1", "member")
	b.expect(t, "user", "", valid)
	b.fake.Config.Handler = http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect)
	b.expect(t, "other", "", fault.Unavailable)
	if len(stolen) > 0 {
		t.Errorf("the token %q was sent where a redirect led", <-stolen)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	good := Options{AuthURL: "https://keystone:5000/v3", Username: "u", Password: "p", Project: "p"}
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no URL":         func(o *Options) { o.AuthURL = "" },
		"no scheme":      func(o *Options) { o.AuthURL = "keystone:5000" },
		"user in URL":    func(o *Options) { o.AuthURL = "http://u:p@keystone" },
		"no user":        func(o *Options) { o.Username = "" },
		"no project":     func(o *Options) { o.Project = "" },
		"no CA file":     func(o *Options) { o.CAFile = filepath.Join(t.TempDir(), "missing") },
		"no certificate": func(o *Options) { o.CAFile = notPEM },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "keystone: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
