package replica

import (
	"os"
	"path/filepath"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// proved returns how many chunks were proved, by sums and by reading.
func (s *site) proved() (bySums, byReads int) {
	count := func(how string) int {
		var m dto.Metric
		if err := s.m.metrics.proved.WithLabelValues(st0, how).Write(&m); err != nil {
			s.t.Fatal(err)
		}
		return int(m.GetCounter().GetValue())
	}
	return count(bySum), count(byRead)
}

func (s *site) wantProved(what string, sums, reads int) {
	s.t.Helper()
	if a, b := s.proved(); a != sums || b != reads {
		s.t.Errorf("%s: %d chunks proved by sums and %d by reading, want %d and %d", what, a, b, sums, reads)
	}
}

func TestProofBySums(t *testing.T) {
	s, c := published(t, "dzdp")
	s.wantProved("fill", 4, 0) // the zeroes too
	s.verified(c, 1, 1)
	s.wantProved("verification", 4+4, 0)
	if n := s.pools[st0].Calls(rbdtest.OpReadAt); n > 0 {
		t.Errorf("%d reads", n)
	}
	list, err := filepath.Glob(filepath.Join(s.sums, "*"))
	if err != nil || len(list) != 1 {
		t.Fatalf("lists of sums: %v %v", list, err)
	}
	for name, spoil := range map[string]func() error{
		"lost":    func() error { return os.Remove(list[0]) },
		"damaged": func() error { return os.Truncate(list[0], 40) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		sums, reads := s.proved()
		generation := uint64(sums*100 + reads)
		if r := s.verified(c, 1, generation); r.Verification.ChunksDamaged != 0 {
			t.Errorf("%s: %v", name, r.Verification)
		}
		s.wantProved(name, sums+1, reads+3)
		s.verified(c, 1, generation+1)
		s.wantProved(name+", then made anew", sums+1+4, reads+3)
	}
	s.delta(goalOf(goalAbsent, 2, conA))
	s.await(isAbsent, 2)
	if left, err := os.ReadDir(s.sums); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// Without sums everything is read.
func TestProofWithoutSums(t *testing.T) {
	for name, change := range map[string]func(*site){
		"option":      func(s *site) { s.verify = VerifyRead },
		"unsupported": func(*site) {},
	} {
		t.Run(name, func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(40, "dzp"))
			s := newSite(t, hub)
			change(s)
			s.begin()
			s.pools[st0].Fail(rbdtest.OpSum, 1000, rbd.NoSums(nil))
			s.delta(c.describe(goalOf(goalPresent, 1, conA)))
			s.await(isPresent, 1)
			s.verified(c, 1, 1)
			s.wantProved(name, 0, 4)
			s.spoil(7)
			if r := s.verified(c, 1, 2); r.Verification.ChunksDamaged != 1 {
				t.Errorf("damaged copy: %v", r.Verification)
			}
		})
	}
}

// Whatever happens to a published copy is found by sums, with or without the list of them, and nothing else is.
func TestProofFindsDamage(t *testing.T) {
	const size = manifest.ChunkSize
	for _, tc := range []struct {
		name    string
		damage  func(t *testing.T, f *os.File)
		damaged int64
	}{
		{"none", func(*testing.T, *os.File) {}, 0},
		{"same bytes again", func(t *testing.T, f *os.File) { t.Helper(); put(t, f, 0, take(t, f, 0, size)) }, 0},
		{"zeroes written over zeroes", func(t *testing.T, f *os.File) { t.Helper(); put(t, f, size, make([]byte, size)) }, 0},
		{"bit flip", func(t *testing.T, f *os.File) {
			t.Helper()
			b := take(t, f, 3*size-1, 1)
			b[0] ^= 4
			put(t, f, 3*size-1, b)
		}, 1},
		{"swapped", func(t *testing.T, f *os.File) {
			t.Helper()
			a, b := take(t, f, 0, size), take(t, f, 2*size, size)
			put(t, f, 0, b)
			put(t, f, 2*size, a)
		}, 2},
		{"truncated chunk", func(t *testing.T, f *os.File) { t.Helper(); put(t, f, size/2, make([]byte, size/2)) }, 1},
		{"stale", func(t *testing.T, f *os.File) { t.Helper(); put(t, f, 0, pattern(99, "d")) }, 1},
		{"missing", func(t *testing.T, f *os.File) {
			t.Helper()
			if err := punch(f, 0, size); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"extra", func(t *testing.T, f *os.File) { t.Helper(); put(t, f, size+5, []byte("x")) }, 1},
		{"truncated copy", func(t *testing.T, f *os.File) {
			t.Helper()
			if err := f.Truncate(2 * size); err != nil {
				t.Fatal(err)
			}
		}, 4},
		{"longer copy", func(t *testing.T, f *os.File) { t.Helper(); put(t, f, 5*size, []byte("x")) }, 4},
	} {
		for _, list := range []bool{true, false} {
			t.Run(tc.name, func(t *testing.T) {
				s, c := published(t, "dzdp")
				f, err := os.OpenFile(filepath.Join(s.dirs[st0], string(img1), "data"), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = f.Close() }()
				tc.damage(t, f)
				if !list {
					if err := os.RemoveAll(s.sums); err != nil {
						t.Fatal(err)
					}
				}
				for generation := range uint64(2) { // the second time with what the first has learned
					if v := s.verified(c, 1, generation+1).Verification; v.ChunksDamaged != tc.damaged || v.Failure != nil {
						t.Errorf("list %v: %v, want %d damaged", list, v, tc.damaged)
					}
				}
			})
		}
	}
}

func take(t *testing.T, f *os.File, off int64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, f *os.File, off int64, b []byte) {
	t.Helper()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func TestDataEnd(t *testing.T) {
	for _, n := range []int{0, 1, page - 1, page, page + 1, 3 * page} {
		b := make([]byte, 3*page)
		if n > 0 {
			b[n-1] = 1
		}
		if got := dataEnd(b); got != n {
			t.Errorf("data of %d bytes ends at %d", n, got)
		}
	}
	if sumOfZeroes(100_000) != sumOf(make([]byte, 100_000)) || sumOfZeroes(0) != sumOf(nil) {
		t.Error("sum of zeroes")
	}
}

// punch makes a hole.
func punch(f *os.File, off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}
