package replica

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// metaMap is the metadata of an image.
type metaMap map[string]string

func (m metaMap) Meta(_ context.Context, key string) (string, error) { return m[key], nil }

func (m metaMap) SetMeta(_ context.Context, key, value string) error {
	if m[key] = value; value == "" {
		delete(m, key)
	}
	return nil
}

type ledgerEntry struct {
	digest manifest.Digest
	sum    uint64
}

// A ledger tells what was added, of the same content, chunk and digest only, and whatever is damaged, nothing else.
func TestLedgerTellsOnlyWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 3 * ledgerChunks * manifest.ChunkSize
		img, added := metaMap{}, map[int]ledgerEntry{}
		l := newLedger(conA, 1)
		for range rapid.IntRange(1, 20).Draw(t, "chunks") {
			i := rapid.IntRange(0, 3*ledgerChunks-1).Draw(t, "chunk")
			e := ledgerEntry{sum: rapid.Uint64Min(1).Draw(t, "sum")}
			e.digest[0] = rapid.Byte().Draw(t, "digest")
			added[i] = e
			if l.add(i, e.digest, e.sum) && rapid.Bool().Draw(t, "store") {
				if err := l.store(t.Context(), img); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.store(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		key := rapid.SampledFrom([]string{ledgerKey(0), ledgerKey(1), ledgerKey(2)}).Draw(t, "page")
		damaged := rapid.SampledFrom([]string{"", "flip", "cut", "no base64"}).Draw(t, "damage")
		if b := []byte(img[key]); len(b) > 0 {
			at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			switch damaged {
			case "flip":
				raw, err := base64.StdEncoding.DecodeString(img[key])
				if err != nil {
					t.Fatal(err)
				}
				raw[at%len(raw)] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				b = []byte(base64.StdEncoding.EncodeToString(raw))
			case "cut":
				b = b[:at]
			case "no base64":
				b[at] = '!'
			}
			_ = img.SetMeta(t.Context(), key, string(b))
		}
		again, other := newLedger(conA, 1), newLedger(conB, 1)
		for _, l := range []*ledger{again, other} {
			if err := l.load(t.Context(), img, size); err != nil {
				t.Fatal(err)
			}
		}
		lost := 0
		added[rapid.IntRange(0, 3*ledgerChunks-1).Filter(func(i int) bool { return added[i].sum == 0 }).Draw(t, "other")] = ledgerEntry{}
		for i, e := range added {
			got, ok := again.sum(i, e.digest)
			if ok && got != e.sum {
				t.Fatalf("chunk %d has the sum %x, added was %x", i, got, e.sum)
			}
			if !ok && e.sum != 0 {
				lost++
			}
			if _, ok := other.sum(i, e.digest); ok {
				t.Fatalf("chunk %d has a sum of another content", i)
			}
			e.digest[5]++
			if _, ok := again.sum(i, e.digest); ok {
				t.Fatalf("chunk %d has a sum of another digest", i)
			}
		}
		if damaged == "" && lost > 0 || damaged == "flip" && lost > 1 {
			t.Fatalf("%d sums lost by damage %q", lost, damaged)
		}
		if err := again.drop(t.Context(), img); err != nil || len(img) > 0 {
			t.Fatalf("left after drop: %v %v", img, err)
		}
	})
}

// unstorable refuses to store anything.
type unstorable struct{ metaMap }

func (unstorable) SetMeta(context.Context, string, string) error { return errors.New("no") }

func TestLedgerStoresLater(t *testing.T) {
	img := metaMap{}
	l := newLedger(conA, 1)
	if !l.add(1, manifest.Digest{1}, 7) {
		t.Fatal("nothing to store")
	}
	if err := l.store(t.Context(), unstorable{img}); err == nil {
		t.Fatal("stored")
	}
	if err := l.store(t.Context(), img); err != nil || len(img) != 1 {
		t.Fatalf("stored %d pages, %v", len(img), err)
	}
	if l.add(1, manifest.Digest{1}, 7) {
		t.Error("what is known already has to be stored")
	}
}

// lost makes a site whose agent died with five of seven chunks written, and lost its journal.
func lost(t *testing.T) (*site, *fakeHub, *fakeContent) {
	t.Helper()
	hub := newFakeHub(t)
	c := hub.begin(conA, pattern(26, "dzddddp"))
	s := newSite(t, hub)
	s.workers = 1
	s.begin()
	hub.change(func() { c.shown = 5 })
	s.delta(goalOf(goalPresent, 1, conA))
	s.until("the first chunks", func() bool {
		return s.view[string(img1)+"@"+st0].GetProgress().GetChunksContiguous() == 5
	})
	s.stop()
	saved{}.restore(t, s.journal)
	hub.change(func() { c.shown, c.complete = len(c.man.Chunks), true })
	return s, hub, c
}

// hidden changes the hidden image.
func (s *site) hidden(change func(rbd.Image) error) {
	s.t.Helper()
	img, err := s.raw(st0).Open(s.t.Context(), hiddenName(img1))
	if err == nil {
		err = errors.Join(change(img), img.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// noLedger fails when the published copy says anything that only hidden images do.
func (s *site) noLedger(id image.ID) {
	s.t.Helper()
	snap, err := s.raw(st0).OpenSnapshot(s.t.Context(), string(id))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = snap.Close() }()
	if v, err := snap.Meta(s.t.Context(), ledgerKey(0)); err != nil || v != "" {
		s.t.Errorf("published with a ledger of %d characters, %v", len(v), err)
	}
}

// Whatever has become of the image and its ledger meanwhile, no chunk that is there is sent again, none that is not is believed
// in, and what the store's sums acquit is not read.
func TestResumeBySums(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*site)
		fetched int // chunks of data; six in all, four of them before
		read    int // of the four
	}{
		{"as it was", func(*site) {}, 6, 0},
		{"damaged chunk", func(s *site) {
			s.hidden(func(img rbd.Image) error { return img.WriteAt(s.t.Context(), []byte("spoilt"), 2<<22+99) })
		}, 7, 0},
		{"lost chunk", func(s *site) {
			s.hidden(func(img rbd.Image) error { return img.Zero(s.t.Context(), 0, 1<<22) })
		}, 7, 0},
		{"no ledger", func(s *site) {
			s.hidden(func(img rbd.Image) error { return img.SetMeta(s.t.Context(), ledgerKey(0), "") })
		}, 6, 4},
		{"damaged ledger", func(s *site) {
			s.hidden(func(img rbd.Image) error {
				return img.SetMeta(s.t.Context(), ledgerKey(0), strings.Repeat("x", 100))
			})
		}, 6, 4},
		{"read only", func(s *site) { s.verify = VerifyRead }, 6, 4 + 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, hub, c := lost(t)
			tc.change(s)
			s.begin()
			s.snapshot(c.describe(goalOf(goalPresent, 2, conA)))
			s.await(isPresent, 2)
			s.holds(c)
			s.noLedger(img1)
			if n := hub.fetched(c); n != tc.fetched {
				t.Errorf("%d chunks sent, want %d", n, tc.fetched)
			}
			if _, read := s.proved(); read != tc.read {
				t.Errorf("%d chunks read, want %d", read, tc.read)
			}
		})
	}
}

func TestResumeWhereSumsAreNotToBeHad(t *testing.T) {
	s, hub, c := lost(t)
	s.begin()
	s.pools[st0].Fail(rbdtest.OpSum, 1000, rbd.NoSums(nil))
	s.snapshot(c.describe(goalOf(goalPresent, 2, conA)))
	s.await(isPresent, 2)
	s.holds(c)
	if n := hub.fetched(c); n != 6 {
		t.Errorf("%d chunks sent, 6 hold data", n)
	}
	s.wantProved("fill", 0, 4+6)
}

// A ledger of another content goes before anything of the new one is noted.
func TestLedgerOfAnotherContent(t *testing.T) {
	s, hub, _ := lost(t)
	c := hub.add(conB, pattern(26, "dzddddp"))
	s.begin()
	s.snapshot(c.describe(goalOf(goalPresent, 2, conB)))
	s.await(isPresent, 2)
	s.holds(c)
	s.noLedger(img1)
	if _, read := s.proved(); read != 4 {
		t.Errorf("%d chunks read, 4 were there", read)
	}
}
