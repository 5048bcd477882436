package keystone

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// fakeKeystone answers like the identity service, with faults that tests queue.
type fakeKeystone struct {
	*httptest.Server
	now func() time.Time

	mu      sync.Mutex
	tokens  map[string]token
	own     string // the token of the latest login; others of ours are refused
	logins  int
	asked   int           // questions about tokens that reached us
	queries []string      // of those questions
	about   []string      // the tokens that they were about
	faults  []mishap      // what happens to the next questions
	hold    chan struct{} // if there is one, a question takes something from it and is answered when it is closed
}

type token struct {
	body    map[string]any
	expires time.Time
}

// mishap is what happens to a question instead of an answer.
type mishap int

const (
	drop    mishap = 0 // the connection is cut within the answer
	unknown mishap = http.StatusUnauthorized
	broken  mishap = http.StatusInternalServerError
	garbage mishap = http.StatusOK // an answer without a user
)

func newFake(t *testing.T, now func() time.Time) *fakeKeystone {
	t.Helper()
	f := &fakeKeystone{now: now, tokens: map[string]token{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", f.login)
	mux.HandleFunc("GET /v3/auth/tokens", f.validate)
	mux.HandleFunc("GET /v3/auth/catalog", f.catalog)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// issue makes a token of a user in the project "p1" that lives for an hour.
func (f *fakeKeystone) issue(id, user string, roles ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]map[string]string, len(roles))
	for i, role := range roles {
		list[i] = map[string]string{"id": "r-" + role, "name": role}
	}
	expires := f.now().Add(time.Hour)
	f.tokens[id] = token{expires: expires, body: map[string]any{
		"user":       map[string]any{"id": user, "name": "name of " + user, "domain": map[string]string{"id": "default"}},
		"project":    map[string]any{"id": "p1", "name": "demo", "domain": map[string]string{"id": "default"}},
		"roles":      list,
		"expires_at": expires.Format(time.RFC3339Nano),
	}}
}

func (f *fakeKeystone) edit(id string, change func(body map[string]any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.tokens[id].body)
}

func (f *fakeKeystone) revoke(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tokens, id)
}

func (f *fakeKeystone) fail(faults ...mishap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

// counts returns how many logins and questions there were.
func (f *fakeKeystone) counts() (logins, asked int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logins, f.asked
}

// askedAbout returns how many questions there were about a token.
func (f *fakeKeystone) askedAbout(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.about {
		if a == id {
			n++
		}
	}
	return n
}

func (f *fakeKeystone) login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct{ Name, Password string }
				}
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Auth.Identity.Password.User.Password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	f.mu.Lock()
	f.logins++
	f.own = "own-" + time.Duration(f.logins).String()
	id := f.own
	f.mu.Unlock()
	w.Header().Set("X-Subject-Token", id)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(`{"token": {"catalog": []}}`))
}

func (f *fakeKeystone) validate(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked++
	f.queries = append(f.queries, r.URL.RawQuery)
	f.about = append(f.about, r.Header.Get("X-Subject-Token"))
	hold := f.hold
	var next *mishap
	if len(f.faults) > 0 {
		next, f.faults = &f.faults[0], f.faults[1:]
	}
	found, ok := f.tokens[r.Header.Get("X-Subject-Token")]
	own := f.own
	f.mu.Unlock()
	for open := hold != nil; open; {
		_, open = <-hold
	}
	switch {
	case next != nil && *next == drop:
		// After the first byte, since a client may silently ask again before it.
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("{"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case next != nil:
		w.WriteHeader(int(*next))
		_, _ = w.Write([]byte(`{"token": {"secret": "of keystone"}}`))
	case r.Header.Get("X-Auth-Token") != own:
		w.WriteHeader(http.StatusUnauthorized)
	case !ok || (!f.now().Before(found.expires) && r.URL.Query().Get("allow_expired") != "1"):
		w.WriteHeader(http.StatusNotFound)
	default:
		f.mu.Lock()
		text, _ := json.Marshal(map[string]any{"token": found.body})
		f.mu.Unlock()
		w.Header().Set("X-Subject-Token", r.Header.Get("X-Subject-Token"))
		_, _ = w.Write(text)
	}
}

func (f *fakeKeystone) catalog(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	_, ok := f.tokens[r.Header.Get("X-Auth-Token")]
	f.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte(`{"catalog": [
		{"type": "compute", "endpoints": [{"interface": "public", "region_id": "R1", "url": "http://nova"}]},
		{"type": "image", "endpoints": [
			{"interface": "admin", "region_id": "R1", "url": "http://r1.admin/"},
			{"interface": "public", "region_id": "R1", "url": "http://r1/"},
			{"interface": "public", "region_id": "R2", "url": "http://r2/image//"}]}]}`))
}
