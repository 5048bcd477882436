package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/agent/internal/link"
	"github.com/atoll-dcn/atoll/agent/internal/replica"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/lifecycle"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

const (
	someImage = "11111111-1da0-4078-97fe-f1bb81f61b00"
	someToken = "a token of a test" //nolint:gosec // as it says
)

// imageSite is what openImageAPI needs, without a hub.
type imageSite struct {
	config  *Config
	pools   pools
	manager *replica.Manager
	session *link.Link
	images  *imageAPI
}

func newSite(t *testing.T, c ImageAPIConfig) *imageSite {
	t.Helper()
	state := t.TempDir()
	s := &imageSite{config: &Config{Site: "dcn0", StateDir: state, ImageAPI: c}}
	log := hclog.NewNullLogger()
	var err error
	s.pools, err = openPools(t.Context(), state, []StoreConfig{{ID: "dcn0", Driver: driverFile, Path: t.TempDir()}}, log)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenDir(filepath.Join(state, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	s.manager = replica.New(replica.Config{Stores: s.pools.stores(), Journal: j, Log: log, Registry: prometheus.NewRegistry()})
	s.images = openImageAPI(s.config, s.manager, log)
	s.session = link.New(link.Config{Replicas: s.images.replicas(s.manager), Log: log})
	return s
}

func (s *imageSite) tasks(t *testing.T, log hclog.Logger) ([]lifecycle.Task, error) {
	t.Helper()
	return s.images.tasks(t.Context(), "dcn0", s.pools, s.manager, s.session, prometheus.NewRegistry(), log)
}

// tokenFile returns a file with one token.
func tokenFile(t *testing.T) string {
	t.Helper()
	return write(t, "tokens: [{token: "+someToken+", user: u, project: p1, roles: [member]}]\n")
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// anyAddress is loopback with a port that the system chooses.
const anyAddress = "127.0.0.1:0"

func TestImageAPIOfASite(t *testing.T) {
	c := ImageAPIConfig{Address: anyAddress, HubImageURL: "http://127.0.0.1:1", Auth: authTokens, TokensFile: tokenFile(t)}
	s := newSite(t, c)
	var said bytes.Buffer
	tasks, err := s.tasks(t, hclog.New(&hclog.LoggerOptions{Output: &said, JSONFormat: true}))
	if err != nil {
		t.Fatal(err)
	}
	var line struct{ Address string }
	if err := json.Unmarshal(said.Bytes(), &line); err != nil || line.Address == "" {
		t.Fatalf("it does not say where it listens: %q, %v", said.String(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, tasks...) }()
	s.images.replicas(s.manager).Apply(&agentv1.Desired{Revision: 1, Snapshot: true, Replicas: []*agentv1.DesiredReplica{{
		ImageId: someImage, StoreId: "dcn0", Goal: agentv1.Goal_GOAL_HOLD, Content: &agentv1.Content{ContentId: someImage},
		Metadata: &agentv1.ImageMetadata{Status: "active", Name: "debian", Owner: "p1", Visibility: "private", Location: "rbd://f/p/i/snap"},
	}}})
	for token, want := range map[string]int{"": 401, someToken: 200} {
		if code, body := get(t, "http://"+line.Address+"/v2/images/"+someImage, token); code != want || want == 200 && !strings.Contains(body, "debian") {
			t.Errorf("with token %q: %d %s", token, code, body)
		}
	}
	if state, _ := s.manager.State(someImage, "dcn0"); state != 0 {
		t.Errorf("state %v of a copy that nobody has looked at", state)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("waited in vain for the Image API to stop")
	}
	again := openImageAPI(s.config, s.manager, hclog.NewNullLogger()) // as after a restart
	if again.catalogue.Image(someImage) == nil {
		t.Error("the image did not survive a restart")
	}
}

func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestNoImageAPI(t *testing.T) {
	s := newSite(t, ImageAPIConfig{})
	if tasks, err := s.tasks(t, hclog.NewNullLogger()); s.images != nil || len(tasks) > 0 || err != nil {
		t.Errorf("%v, %v", tasks, err)
	}
}

// Mistakes in files that the section names stop the start, with the name of the field and without a path.
func TestImageAPIFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for field, change := range map[string]func(*ImageAPIConfig){
		"image_api.tokens_file":            func(c *ImageAPIConfig) { c.TokensFile = missing },
		"image_api.policy_file":            func(c *ImageAPIConfig) { c.PolicyFile = missing },
		"property_protection_file":         func(c *ImageAPIConfig) { c.ProtectionFile = missing },
		"image_api.hub_ca_file":            func(c *ImageAPIConfig) { c.HubCAFile = missing },
		"image_api.hub_ca_file: ":          func(c *ImageAPIConfig) { c.HubCAFile = write(t, "no certificate") },
		"image_api.tls_cert":               func(c *ImageAPIConfig) { c.TLSCert, c.TLSKey = missing, missing },
		"image_api.address":                func(c *ImageAPIConfig) { c.Address = "192.0.2.1:1" },
		"image_api.keystone.password_file": func(c *ImageAPIConfig) { c.Auth, c.Keystone.PasswordFile = authKeystone, missing },
		"image_api.keystone": func(c *ImageAPIConfig) {
			c.Auth, c.Keystone = authKeystone, KeystoneConfig{URL: "nonsense", PasswordFile: write(t, "p")}
		},
	} {
		c := ImageAPIConfig{Address: anyAddress, HubImageURL: "http://127.0.0.1:1", Auth: authTokens, TokensFile: tokenFile(t)}
		change(&c)
		_, err := newSite(t, c).tasks(t, hclog.NewNullLogger())
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), field) || strings.Contains(fault.Public(err), missing) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
