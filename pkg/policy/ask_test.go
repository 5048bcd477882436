package policy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// judge is a service that decides about access.
type judge struct {
	*httptest.Server

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request)
	path   string
	form   map[string][]string
}

func newJudge(t *testing.T) *judge {
	t.Helper()
	j := &judge{}
	j.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s: %v", r.Method, err)
		}
		j.mu.Lock()
		j.path, j.form = r.URL.EscapedPath(), r.PostForm
		answer := j.answer
		j.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(j.Close)
	return j
}

func (j *judge) answers(f func(w http.ResponseWriter, r *http.Request)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = f
}

func says(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func TestHTTPChecks(t *testing.T) {
	j, log := newJudge(t), new(bytes.Buffer)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte("get_image: "+j.URL+"/may/%(name)s or role:nope\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	patient := Options{File: file, HTTP: client, HTTPTimeout: time.Minute, Log: hclog.New(&hclog.LoggerOptions{Output: log})}
	impatient := patient
	impatient.HTTPTimeout = 50 * time.Millisecond
	e, soon := enforcer(t, patient), enforcer(t, impatient)
	target := Map{"id": "i1", "name": "a/../b?c", "visibility": "private"}
	for text, want := range map[string]bool{"True": true, "\"True\"\n": true, "False": false, "true": false, "": false, "True" + strings.Repeat(" ", 100) + "!": false} {
		j.answers(says(text))
		if got := e.Allowed(alice(), "get_image", target); got != want && text != "" {
			t.Errorf("the answer %q: allowed %v", text, got)
		}
	}
	if j.path != "/may/a%2F..%2Fb%3Fc" {
		t.Errorf("asked at %s", j.path)
	}
	var credentials, about map[string]any
	if json.Unmarshal([]byte(j.form["credentials"][0]), &credentials) != nil || json.Unmarshal([]byte(j.form["target"][0]), &about) != nil {
		t.Fatalf("asked with %v", j.form)
	}
	if credentials["user_id"] != "u1" || about["visibility"] != "private" || j.form["rule"][0] != `"get_image"` {
		t.Errorf("asked with %v", j.form)
	}

	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			says("True")(w, nil)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) },
		"cut":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"slow": func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		j.answers(answer)
		asks := e
		if name == "slow" {
			asks = soon
		}
		if asks.Allowed(alice(), "get_image", target) {
			t.Errorf("%s: allowed", name)
		}
	}
	if !strings.Contains(log.String(), "http check") {
		t.Errorf("failures are not logged: %s", log)
	}
	j.answers(says("True"))
	for _, bad := range []Map{{}, {"name": ".."}, {"name": "."}} {
		if e.Allowed(alice(), "get_image", bad) {
			t.Errorf("allowed with %v", bad)
		}
	}
}

func TestHTTPChecksNeedAFixedHost(t *testing.T) {
	for _, text := range []string{"http:", "http://", "http:///x", "https:%(name)s", "http://%(name)s/", "http://host%(name)s/", "http:x"} {
		log := new(bytes.Buffer)
		rules, err := compile(map[string]any{"it": text}, newAsker(&http.Client{}, 0, hclog.NewNullLogger()), hclog.New(&hclog.LoggerOptions{Output: log}))
		if err != nil {
			t.Fatal(err)
		}
		if rules.allowed(alice(), "it", Map{"name": "x"}) || !strings.Contains(log.String(), "mistake") {
			t.Errorf("%s: log %q", text, log)
		}
	}
}
