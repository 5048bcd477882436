package replica

import (
	"github.com/cespare/xxhash/v2"

	"github.com/atoll-dcn/atoll/agent/internal/sums"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// How copies are verified.
const (
	VerifyChecksums = "checksums" // by sums that the store makes, where it can
	VerifyRead      = "read"      // by reading every chunk
)

// Sizes at which writers other than this agent may have stopped.
const (
	sector = 512
	page   = 4096
)

func sumOf(b []byte) uint64 { return xxhash.Sum64(b) }

// sumOfZeroes returns the sum of n zeroes.
func sumOfZeroes(n int) uint64 {
	var d xxhash.Digest
	d.Reset()
	zeroes := make([]byte, min(n, 64<<10))
	for n > 0 {
		k := min(n, len(zeroes))
		_, _ = d.Write(zeroes[:k])
		n -= k
	}
	return d.Sum64()
}

// dataEnd returns how many bytes of b come before the zeroes at its end.
func dataEnd(b []byte) int {
	for len(b) > 0 {
		last := (len(b) - 1) / page * page
		if !frame.IsZero(b[last:]) {
			break
		}
		b = b[:last]
	}
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

// sum returns what the store should say of a chunk that is written now; 0 when nobody will ask. See put for what is left out.
func (f *fill) sum(raw []byte, fresh bool) uint64 {
	if !f.s.sums {
		return 0
	}
	if fresh && len(raw) > writeSize && frame.IsZero(raw[writeSize:]) {
		raw = raw[:writeSize]
	}
	return sumOf(raw)
}

// gather returns what the store should say of the chunks of the hidden image, nil when it is not to be asked.
func (f *fill) gather() []uint64 {
	if !f.s.sums {
		return nil
	}
	if f.sums == nil {
		f.sums = make([]uint64, len(f.man.Chunks))
	}
	for i, d := range f.man.Chunks {
		if f.sums[i] != 0 {
			continue
		}
		if sum, ok := f.ledger.sum(i, d); ok {
			f.sums[i] = sum
		} else if f.jour == nil {
			continue
		} else if sum, ok := f.jour.Sum(i, d); ok {
			f.sums[i] = sum
		}
	}
	return f.sums
}

// keepSums stores the manifest and the sums of a published copy; nil: none are known. Without them the next verification asks the
// hub for the manifest and reads the copy.
func (m *Manager) keepSums(j job, root manifest.Digest, man *manifest.Manifest, known []uint64) {
	if m.cfg.Sums == nil {
		return
	}
	if known == nil {
		known = make([]uint64, len(man.Chunks))
	}
	if err := m.cfg.Sums.Store(j.key, root, &sums.List{Manifest: man, Sums: known}); err != nil {
		m.log.Warn("sums of a copy not kept", "image", j.key.Image, "store", j.key.Store, "error", err)
	}
}

// loadSums returns what is kept of a published copy, nil when that is nothing.
func (m *Manager) loadSums(j job, root manifest.Digest) *sums.List {
	if m.cfg.Sums == nil {
		return nil
	}
	return m.cfg.Sums.Load(j.key, root)
}

// dropSums forgets the sums of a copy that is gone.
func (m *Manager) dropSums(j job) {
	if m.cfg.Sums == nil {
		return
	}
	if err := m.cfg.Sums.Remove(j.key); err != nil {
		m.log.Warn("sums of a copy not removed", "image", j.key.Image, "store", j.key.Store, "error", err)
	}
}
