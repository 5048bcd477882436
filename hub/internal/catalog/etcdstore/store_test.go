package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore/embedded"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// endpoints reach the etcd that all tests share; each test has its own prefix.
var endpoints []string

func TestMain(m *testing.M) { goleak.VerifyTestMain(withEtcd{m}) }

// withEtcd runs the tests between the start and the end of their etcd.
type withEtcd struct{ tests *testing.M }

// Run implements goleak.TestingM.
func (w withEtcd) Run() int {
	dir, err := os.MkdirTemp(memory(), "etcdstore")
	if err != nil {
		panic(err)
	}
	srv, err := embedded.Start(context.Background(), dir, nil) //nolint:forbidigo // nobody to inherit a context from
	if err != nil {
		panic(err)
	}
	endpoints = srv.Endpoints()
	code := w.tests.Run()
	if err := errors.Join(srv.Close(), os.RemoveAll(dir)); err != nil {
		panic(err)
	}
	return code
}

// memory returns a directory for files that need not survive: what etcd syncs is not under test here, and it is slow.
func memory() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err != nil || !info.IsDir() {
		return os.TempDir()
	}
	return shm
}

// quick are waits for tests: long enough for a busy machine where a test must not give up, short where it waits.
var quick = timing{
	request: 20 * time.Second, commit: time.Minute, settle: 30 * time.Second,
	progress: 50 * time.Millisecond, silence: 20 * time.Second, relist: time.Hour,
	lease: time.Minute, renew: 200 * time.Millisecond, fence: 30 * time.Second,
	observe: time.Hour,
	retry:   retry.Policy{Initial: 5 * time.Millisecond, Max: 50 * time.Millisecond},
}

// config returns the configuration of a store below the test's own prefix.
func config(t *testing.T, hubID string) Config {
	t.Helper()
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Debug})
	return Config{
		Endpoints: endpoints, Prefix: prefix(t), HubID: hubID,
		Log: log, Registry: prometheus.NewRegistry(), timing: quick,
	}
}

// prefixes are those of the running tests; a test that is repeated gets a new one.
var prefixes sync.Map

func prefix(t *testing.T) string {
	t.Helper()
	p, known := prefixes.LoadOrStore(t, "/test/"+string(image.NewID()))
	if !known {
		t.Cleanup(func() { prefixes.Delete(t) })
	}
	return fmt.Sprint(p)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b[:len(b)-1]))
	return len(b), nil
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, s)
	return s
}

func closeAfter(t *testing.T, s *Store) {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestConformance(t *testing.T) {
	catalogtest.RunConformance(t, func(t *testing.T) catalog.Records {
		t.Helper()
		return open(t, config(t, "hub1"))
	})
}

// eventually waits for something that etcd or a goroutine does in its own time.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in time")
		}
		_ = retry.Sleep(t.Context(), 5*time.Millisecond)
	}
}

// siteWrite returns a write of a site as s has it now.
func siteWrite(s *Store, id, description string) catalog.Write {
	k := catalog.Key{Kind: catalog.KindSite, ID: id}
	w := catalog.Write{Key: k, Value: &storev1.Site{Id: id, Description: description}}
	if r := s.cache.record(k); r != nil {
		w.Revision = r.rev
	}
	return w
}
