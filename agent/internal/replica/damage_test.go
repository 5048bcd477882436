package replica

import (
	"context"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// What the store damages or loses while reporting success is found before publishing and written again.
func TestDamagedWritesAreRepaired(t *testing.T) {
	for name, damage := range map[string]func(*rbdtest.Faulty){
		"corrupt": func(f *rbdtest.Faulty) { f.Pass(rbdtest.OpWriteAt, 1); f.CorruptWrites(1) },
		"dropped": func(f *rbdtest.Faulty) { f.Pass(rbdtest.OpWriteAt, 1); f.DropWrites(1) },
		"all":     func(f *rbdtest.Faulty) { f.DropWrites(5) },
		"rounds":  func(f *rbdtest.Faulty) { f.CorruptWrites(5 + 3) },
	} {
		t.Run(name, func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(30, "dzdp"))
			s := newSite(t, hub).begin()
			damage(s.pools[st0])
			s.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
			r := s.await(isPresent, 1)
			s.holds(c)
			s.tidy(string(img1))
			if r.Progress.ChunksRepaired == 0 || r.Progress.BytesDone != c.man.Length {
				t.Errorf("progress %v", r.Progress)
			}
			if s.pools[st0].Queued() > 0 {
				t.Error("not all faults were used")
			}
		})
	}
}

func TestStoreThatAlwaysDamagesFails(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(31, "p"))
	s := newSite(t, hub).begin()
	s.pools[st0].CorruptWrites(1000)
	s.delta(goalOf(goalPresent, 1, conA))
	r := s.await(isFailed, 1)
	if r.Failure.Reason != "CORRUPT" || !r.Failure.Retryable {
		t.Errorf("failure %v", r.Failure)
	}
	if n := hub.fetched(c); n != 1+rounds {
		t.Errorf("the chunk was written %d times", n)
	}
	if got := s.names(); got != hiddenName(img1) {
		t.Errorf("images: %q", got)
	}
	s.pools[st0].Clear()
	s.delta(goalOf(goalPresent, 2, conA))
	s.await(isPresent, 2)
	s.holds(c)
}

// Data where the manifest says zeroes is found and taken away.
func TestGarbageInAZeroChunk(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(32, "dzp"))
	s := newSite(t, hub).begin()
	spoiled := false
	s.pools[st0].Before(rbdtest.OpCreateSnapshot, func(string) {
		if spoiled {
			return
		}
		spoiled = true
		img, err := s.raw(st0).Open(t.Context(), hiddenName(img1))
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = img.Close() }()
		if err := img.WriteAt(t.Context(), []byte("garbage"), manifest.ChunkSize+5); err != nil {
			t.Error(err)
		}
	})
	s.delta(goalOf(goalPresent, 1, conA))
	r := s.await(isPresent, 1)
	s.holds(c)
	if !spoiled || r.Progress.ChunksRepaired != 1 {
		t.Errorf("spoiled %v, progress %v", spoiled, r.Progress)
	}
}

// small is a pool that says how much space it has.
type small struct {
	rbd.Pool
	free int64
}

func (p *small) Info(ctx context.Context) (rbd.Info, error) {
	i, err := p.Pool.Info(ctx)
	i.TotalBytes, i.FreeBytes = 1<<40, p.free
	return i, err
}

// Data that is there already needs no more space, whether the journal knows it or not.
func TestResumeNeedsNoSpaceTwice(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(34, "hhhp"))
	s := partial(t, hub, c)
	saved{}.restore(t, s.journal)
	s.wrap = func(_ image.StoreID, p rbd.Pool) rbd.Pool { return &small{Pool: p, free: manifest.ChunkSize} }
	s.begin()
	s.snapshot(c.describe(goalOf(goalPresent, 1, conA)))
	s.await(isPresent, 1)
	s.holds(c)
}

func TestNoSpace(t *testing.T) {
	for _, tc := range []struct {
		name   string
		layout string
		free   int64
		known  bool
		fits   bool
	}{
		{"too big", "ddd", 2 * manifest.ChunkSize, true, false},
		{"too big while arriving", "ddd", 2 * manifest.ChunkSize, false, false},
		{"sparse", "dzzzzzzzzp", 2 * manifest.ChunkSize, true, true},
		{"exact", "ddp", 3 * manifest.ChunkSize, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(33, tc.layout))
			s := newSite(t, hub)
			s.wrap = func(_ image.StoreID, p rbd.Pool) rbd.Pool { return &small{Pool: p, free: tc.free} }
			s.begin()
			d := goalOf(goalPresent, 1, conA)
			if tc.known {
				c.describe(d)
			}
			s.delta(d)
			if tc.fits {
				s.await(isPresent, 1)
				s.holds(c)
				return
			}
			r := s.await(isFailed, 1)
			if f := r.Failure; f.Reason != "NO_SPACE" || f.Retryable || !strings.Contains(f.Message, "8388608") {
				t.Errorf("failure %v", f)
			}
			if n := s.pools[st0].Calls(rbdtest.OpWriteAt); tc.known && n > 0 {
				t.Errorf("%d writes although the whole size was known", n)
			}
			if p := s.m.stores[st0].space.promised; p != 0 {
				t.Errorf("%d bytes stay set aside", p)
			}
		})
	}
}
