package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// TestResumeOnCeph restarts an agent in the middle of a fill of the cluster that ATOLL_TEST_CEPH_CONF names, with the journal,
// without it, and without the ledger as well. It logs what that costs; ATOLL_TEST_RESUME_CHUNKS is how many chunks are held
// before, default 48, 256 for figures per GiB.
func TestResumeOnCeph(t *testing.T) {
	conf := os.Getenv("ATOLL_TEST_CEPH_CONF")
	if conf == "" {
		t.Skip("ATOLL_TEST_CEPH_CONF names no cluster")
	}
	held, err := strconv.Atoi(os.Getenv("ATOLL_TEST_RESUME_CHUNKS"))
	if err != nil {
		held = 48
	}
	data := make([]byte, (held+1)*manifest.ChunkSize)
	_, _ = rand.Read(data)
	for _, tc := range []struct {
		name            string
		journal, ledger bool
	}{{"journal kept", true, true}, {"journal lost", false, true}, {"journal and ledger lost", false, false}} {
		t.Run(tc.name, func(t *testing.T) { resumeOnCeph(t, conf, data, tc.journal, tc.ledger) })
	}
}

func resumeOnCeph(t *testing.T, conf string, data []byte, journal, ledger bool) {
	t.Helper()
	hub := newFakeHub(t)
	c := hub.begin(conA, data)
	held := len(c.man.Chunks) - 1
	s := newSite(t, hub)
	s.workers, s.unhurried, s.patience = 8, true, 10*patience
	cleanCeph(t, conf)
	var pool rbd.Pool
	s.wrap = func(image.StoreID, rbd.Pool) rbd.Pool { return pool }
	begin := func() {
		pool = openCeph(t, conf)
		s.begin()
	}
	goal := func(generation uint64) {
		d := goalOf(goalPresent, generation, conA)
		d.Content.SizeBytes = int64(len(data))
		s.delta(d)
	}
	begin()
	hub.change(func() { c.shown = held })
	goal(1)
	s.until("what is held before", func() bool {
		return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == int64(held)
	})
	s.stop()
	if !ledger {
		img, err := pool.Open(t.Context(), hiddenName(img1))
		if err != nil {
			t.Fatal(err)
		}
		for n := range pagesOf(int64(len(data))) {
			err = errors.Join(err, img.SetMeta(t.Context(), ledgerKey(n), ""))
		}
		if err := errors.Join(err, img.Close()); err != nil {
			t.Fatal(err)
		}
	}
	_ = pool.Close()
	if !journal {
		saved{}.restore(t, s.journal)
	}
	hub.change(func() { c.shown, c.complete = held+1, true })
	before, began := cpuOf(), time.Now()
	begin()
	goal(2)
	asked := func() (n int) {
		hub.change(func() { n = c.served[held] })
		return n
	}
	for limit := time.After(10 * patience); asked() == 0; {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-limit:
			t.Fatal("the new chunk is not asked for")
		}
	}
	took, cpu := time.Since(began), cpuOf()-before
	s.await(isPresent, 2)
	_, read := s.proved()
	t.Logf("%d MiB held: first new chunk after %v, %v of CPU, %d chunks read; published after %v, %v of CPU",
		held*4, took, cpu, read, time.Since(began), cpuOf()-before)
	s.stop()
	if n := hub.fetched(c); n != held+1 {
		t.Errorf("%d chunks sent for %d", n, held+1)
	}
	switch most := 2*s.m.pace.ledger + s.workers; {
	case journal && read > 0, ledger && read > most:
		t.Errorf("%d chunks read", read)
	case !journal && !ledger && read < held:
		t.Errorf("%d chunks read of %d", read, held)
	}
	_ = pool.Close()
}

// openCeph opens the pool of the cluster under test.
func openCeph(t *testing.T, conf string) rbd.Pool {
	t.Helper()
	pool, err := cephrbd.Open(context.WithoutCancel(t.Context()), cephrbd.Config{
		ConfFile: conf, User: "atoll", Pool: "images", Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// cleanCeph removes what tests leave of img1, now and when the test ends.
func cleanCeph(t *testing.T, conf string) {
	t.Helper()
	clean := func() {
		pool := openCeph(t, conf)
		for _, name := range []string{hiddenName(img1), publishedName(img1)} {
			_ = pool.Remove(context.WithoutCancel(t.Context()), name)
		}
		_ = pool.Close()
	}
	clean()
	t.Cleanup(clean)
}

func cpuOf() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
