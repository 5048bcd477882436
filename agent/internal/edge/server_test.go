package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

const path1, path2 = "/v2/images/" + string(img1), "/v2/images/" + string(img2)

func TestReadsAreLocal(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(1000))
	a := s.get(path1)
	if v := a.json(t); a.code != 200 || !a.here() || v["stores"] != "dcn0" || v["status"] != "active" || v["name"] != "cirros" ||
		v["direct_url"] != "rbd://fsid/images/"+string(img1)+"/snap" || a.header.Get("Warning") != "" {
		t.Errorf("image: %+v", a)
	}
	for _, path := range []string{
		"/versions", "/v2/schemas/image", "/healthcheck", path1 + "/members", path1 + "/locations", path1 + "/file", "/v2.7/images/" + string(img1),
		"/site/dcn0" + path1,
	} {
		if a := s.get(path); a.code != 200 || !a.here() {
			t.Errorf("%s: %d, answered here %v: %s", path, a.code, a.here(), a.body)
		}
	}
	if a := s.get(path1 + "/locations"); a.body != `[{"url":"rbd://fsid/images/`+string(img1)+`/snap","metadata":{"store":"dcn0"}}]` {
		t.Errorf("locations: %s", a.body)
	}
	if asked := s.hub.asked(); asked != nil {
		t.Errorf("the hub was asked: %q", asked)
	}
}

func TestOtherRequestsGoToTheHub(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(10))
	for _, c := range []struct{ method, path, body string }{
		{"GET", path2, ""},
		{"GET", path2 + "/file", ""},
		{"GET", "/v2/images?limit=2&name=a%20b;c", ""},
		{"GET", "/v2/info/import", ""},
		{"GET", "/v2/info/stores", ""},
		{"POST", "/v2/images", "{}"},
		{"PATCH", path1, "[]"},
		{"DELETE", path1, ""},
		{"PUT", path1 + "/file", "data"},
		{"POST", path1 + "/import", "{}"},
		{"PUT", path1 + "/tags/a%2Fb", ""},
		{"GET", "/v2/images/nonsense", ""},
		{"GET", "/site/other/v2/tasks", ""},
	} {
		var got *http.Request
		var body string
		s.hub.handle(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got, body = r, string(b)
			w.Header().Set("X-From", "hub")
			w.WriteHeader(http.StatusAccepted)
		})
		a := s.do(c.method, c.path, strings.NewReader(c.body), "X-Service-Token", "service", "X-Openstack-Request-Id", "req-1")
		want := "/site/dcn0" + strings.TrimPrefix(c.path, "/site/other")
		if a.code != 202 || a.header.Get("X-From") != "hub" || a.here() || got.Method != c.method || got.RequestURI != want || body != c.body {
			t.Errorf("%s %s: answer %+v, the hub got %s %s %q", c.method, c.path, a, got.Method, got.RequestURI, body)
			continue
		}
		if h := got.Header; h.Get("X-Auth-Token") != "secret" || h.Get("X-Service-Token") != "service" || h.Get("X-Openstack-Request-Id") != "req-1" {
			t.Errorf("%s %s: headers %v", c.method, c.path, h)
		}
	}
	if s.do("DELETE", path2, nil); !strings.HasPrefix(s.lastID(), "req-") {
		t.Error("a request without an id gets none")
	}
}

// lastID sends a request and returns the id that the hub got.
func (s *edgeSite) lastID() string {
	s.t.Helper()
	var id string
	s.hub.handle(func(_ http.ResponseWriter, r *http.Request) { id = r.Header.Get("X-Openstack-Request-Id") })
	s.get("/v2/tasks")
	return id
}

func TestHubAwayAndBack(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(1000))
	s.hub.handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) // the connection breaks
	s.unlink()
	a := s.get(path1)
	if a.code != 200 || a.header.Get("Warning") != `110 - "Response is Stale"` {
		t.Errorf("image held here: %+v", a)
	}
	for _, path := range []string{path2, path2 + "/file", path2 + "/locations", "/v2/info/import", "/v2/images?marker=" + string(img2)} {
		a := s.get(path)
		if v := a.json(t); a.code != 503 || a.header.Get("Retry-After") == "" || !a.here() || v["code"] != "503 Service Unavailable" ||
			!strings.Contains(v["message"].(string), "cannot reach the hub") || !strings.HasPrefix(a.header.Get("X-Openstack-Request-Id"), "req-") {
			t.Errorf("%s: %+v", path, a)
		}
	}
	for _, path := range []string{"/v2/images", "/v2/images?marker=" + string(img1), "/v2/info/stores"} {
		if a := s.get(path); a.code != 200 || a.header.Get("X-Atoll-Partial") != "true" || a.header.Get("Warning") == "" {
			t.Errorf("%s: %+v", path, a)
		}
	}
	if a := s.do("PATCH", path1, strings.NewReader("[]")); a.code != 504 || !strings.Contains(a.body, "may have carried out") {
		t.Errorf("a change that got lost: %+v", a)
	}
	s.pass(quiet)
	s.hub.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if a := s.do("DELETE", path2, nil); a.code != 204 {
		t.Errorf("after the hub came back: %+v", a)
	}
}

// A hub that refuses connections is not asked again for a while, and nothing is said to have been sent.
func TestHubRefusesConnections(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hub.leave()
	for _, method := range []string{"POST", "DELETE", "GET"} {
		if a := s.do(method, path2, nil); a.code != 503 || a.header.Get("Retry-After") != "5" {
			t.Errorf("%s: %+v", method, a)
		}
	}
	if err := s.server.hub.ready(false); fault.ReasonOf(err) != "HUB_AWAY" {
		t.Errorf("right after a failure: %v", err)
	}
	s.pass(quiet)
	if err := s.server.hub.ready(false); err != nil {
		t.Errorf("a while after a failure: %v", err)
	}
}

// A hub that is slow or has a gate in front that says so does not hold up what the site can answer.
func TestSlowHub(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(10))
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(img2, filling)}})
	s.server.patience = usual
	release := make(chan struct{})
	s.hub.handle(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	began := time.Now()
	if a := s.get("/v2/images"); a.code != 200 || a.header.Get("X-Atoll-Partial") != "true" || !strings.Contains(a.body, string(img2)) {
		t.Errorf("list: %+v", a)
	}
	if took := time.Since(began); took > 30*usual.first {
		t.Errorf("it took %v", took)
	}
	if a := s.get(path2); a.code != 200 || a.json(t)["os_glance_importing_to_stores"] != "dcn0" || a.header.Get("X-Atoll-Partial") != "" {
		t.Errorf("image being filled: %+v", a)
	}
	if asked := s.hub.asked(); len(asked) > 1 { // none where the request was slower than the patience
		t.Errorf("the hub was asked again: %q", asked)
	}
	s.server.patience = longer
	s.pass(quiet)
	s.hub.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	if a := s.get("/v2/images"); a.code != 200 || a.header.Get("X-Atoll-Partial") != "true" {
		t.Errorf("list behind a gate without a hub: %+v", a)
	}
	s.pass(quiet)
	s.hub.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if a := s.get("/v2/images"); a.code != 403 {
		t.Errorf("what the hub refuses: %+v", a)
	}
}

// While a copy into the site's own store is running the hub is asked; without it the site shows what it knows.
func TestCopyIntoThisSite(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(img1, filling)}})
	s.copies.set(img1, isFilling)
	if a := s.get(path1); a.here() || a.json(t)["from"] != "hub" {
		t.Errorf("with a hub: %+v", a)
	}
	s.hub.leave()
	if a := s.get(path1); a.json(t)["os_glance_importing_to_stores"] != "dcn0" || a.json(t)["stores"] != nil {
		t.Errorf("without a hub: %+v", a)
	}
	if a := s.get(path1 + "/file"); a.code != 503 {
		t.Errorf("data of an image being filled: %+v", a)
	}
	s.copies.set(img1, isPresent)
	if a := s.get(path1); a.code != 200 || !a.here() || a.json(t)["stores"] != "dcn0" {
		t.Errorf("done: %+v", a)
	}
}

// Clients read what they have written through the site.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(10))
	if s.do("PATCH", path1, strings.NewReader("[]")).code != 200 {
		t.Fatal("not patched")
	}
	if s.get(path1).here() || !s.get(path1+"/file").here() {
		t.Error("right after a change the site answers with what it had, or does not give the data")
	}
	s.pass(settling)
	if !s.get(path1).here() {
		t.Error("a while later the hub still answers")
	}
	if s.get(path1, "Cache-Control", "no-cache").here() {
		t.Error("no-cache is answered here")
	}
	s.hub.leave()
	if !s.get(path1, "Cache-Control", "no-cache").here() {
		t.Error("no-cache is not answered without a hub")
	}
}

// What the hub refuses changes nothing: a stranger cannot make the site ask the hub for what it has itself.
func TestRefusedChangesAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hold(img1, random(10))
	s.hub.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	if a := s.do("DELETE", path1, nil); a.code != 401 {
		t.Fatalf("%+v", a)
	}
	if !s.get(path1).here() {
		t.Error("after a change that was refused the hub answers")
	}
}

// Redirections of the hub keep clients at the site.
func TestLocationHeader(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	for from, want := range map[string]string{
		path1:                                  path1,
		"/site/dcn0" + path1:                   path1,
		s.hub.server.URL + "/site/dcn0/v2/x?y": "/v2/x?y",
		"https://elsewhere.example/v2/x":       "https://elsewhere.example/v2/x",
		"":                                     "",
	} {
		s.hub.handle(func(w http.ResponseWriter, _ *http.Request) {
			if from != "" {
				w.Header().Set("Location", from)
			}
			w.WriteHeader(http.StatusCreated)
		})
		if a := s.do("POST", "/v2/images", strings.NewReader("{}")); a.header.Get("Location") != want {
			t.Errorf("%q became %q, want %q", from, a.header.Get("Location"), want)
		}
	}
}

// Data flows through in both directions while it arrives.
func TestPassedDataIsStreamed(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	arrived, goOn := make(chan string, 1), make(chan struct{})
	s.hub.handle(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 4)
		_, _ = io.ReadFull(r.Body, b)
		arrived <- string(b)
		rest, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		_, _ = w.Write(rest)
	})
	in, out := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+path2+"/file", in)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := out.Write([]byte("ping"))
		if got := <-arrived; got != "ping" { // before the end of the body
			err = errors.New("the hub got " + got)
		}
		_, err2 := out.Write([]byte("pong"))
		written <- errors.Join(err, err2, out.Close())
	}()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b := make([]byte, 4)
	_, err = io.ReadFull(resp.Body, b) // before the end of the answer
	close(goOn)
	rest, err2 := io.ReadAll(resp.Body)
	if err := errors.Join(err, err2, <-written); err != nil || string(b) != "ping" || string(rest) != "pong" {
		t.Errorf("%q %q %v", b, rest, err)
	}
}

// A client's body that breaks off is no fault of the hub.
func TestBrokenUploadIsNotTheHubsFault(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.hub.handle(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	in, out := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+path2+"/file", in)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = out.Write([]byte("half"))
		_ = out.CloseWithError(io.ErrUnexpectedEOF)
	}()
	if resp, err := http.DefaultClient.Do(r); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the upload did not break")
	}
	s.stop() // the site is done with the request
	if err := s.server.hub.ready(true); err != nil {
		t.Errorf("the hub counts as away: %v", err)
	}
}

func TestTokensAreChecked(t *testing.T) {
	t.Parallel()
	private := func(d *agentv1.DesiredReplica) { d.Metadata.Visibility = "private" }
	s := newEdgeSite(t, func(c *Config) { c.Verifier = tokens{} })
	s.cat.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goal(img1, private)}})
	for token, want := range map[string]int{"owner": 200, "other": 404, "nobody": 401} {
		if a := s.get(path1, "X-Auth-Token", token); a.code != want {
			t.Errorf("%s: %+v", token, a)
		}
	}
	if a := s.get(path1, "X-Auth-Token", "owner"); a.json(t)["locations"] != nil || a.json(t)["direct_url"] != nil {
		t.Errorf("locations are shown to everybody: %s", a.body)
	}
	if a := s.get(path1+"/locations", "X-Auth-Token", "owner"); a.code != 403 {
		t.Errorf("locations for an owner: %+v", a)
	}
	if a := s.get(path1+"/locations", "X-Auth-Token", "other"); a.code != 404 {
		t.Errorf("locations for another: %+v", a)
	}
}

// tokens knows a member of the project p1 and one of p2.
type tokens struct{}

func (tokens) Verify(_ context.Context, token, _ string) (*auth.Caller, error) {
	project := map[string]string{"owner": "p1", "other": "p2"}[token]
	if project == "" {
		return nil, fault.New(fault.Unauthenticated, "TOKEN_INVALID", "no")
	}
	return &auth.Caller{UserID: token, ProjectID: project, Roles: []string{"member", "reader"}}, nil
}

func TestSickStore(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	data := random(100)
	s.hold(img1, data)
	s.copies.mu.Lock()
	s.copies.sick = true
	s.copies.mu.Unlock()
	if a := s.get(path1 + "/file"); a.here() {
		t.Errorf("with a hub: %d", a.code)
	}
	s.hub.leave()
	if a := s.get(path1 + "/file"); a.code != 200 || a.body != string(data) {
		t.Errorf("without a hub, and the store well after all: %d", a.code)
	}
	s.pool.Fail(rbdtest.OpOpenSnapshot, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "away"))
	if a := s.get(path1 + "/file"); a.code != 503 || strings.Contains(a.body, "away") {
		t.Errorf("nobody can read it: %+v", a)
	}
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	r := &recent{now: func() time.Time { return now }, until: map[image.ID]time.Time{}}
	for i := range 2 * maxSettling {
		r.add(image.ID(rune(i)))
	}
	if len(r.until) != maxSettling || !r.has(image.ID(rune(0))) || r.has(image.ID(rune(2*maxSettling-1))) {
		t.Errorf("%d are remembered", len(r.until))
	}
	now = now.Add(settling)
	r.add(img1)
	if len(r.until) != 1 || !r.has(img1) {
		t.Errorf("%d are remembered", len(r.until))
	}
}

func TestShutdownCutsWhatGoesOn(t *testing.T) {
	t.Parallel()
	s := newEdgeSite(t, nil)
	s.server.farewell = 50 * time.Millisecond
	entered := make(chan struct{})
	s.hub.handle(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	done := make(chan error, 1)
	go func() {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path2+"/file", nil)
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	<-entered
	s.stop()
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
}
