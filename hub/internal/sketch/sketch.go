// Package sketch tells how much two contents have in common from a few KiB about each.
//
// A sketch holds the smallest hashes of a content's blocks, zero blocks left out and equal ones counted once (bottom-k, KMV).
// Hashes are as good as random, so those of two contents below a common bound are fair samples of both, and the share that is
// found in both is an estimate for all blocks. Blocks are aligned: what has moved by less than a block is not found again.
// Images of disks keep their alignment, since file systems do.
package sketch

import (
	"bytes"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	// BlockSize is the unit of comparison in bytes, that of most file systems.
	BlockSize = 4 << 10
	// Size is the most hashes that a sketch has. The standard error of a share is at most 0.5/sqrt(Size), 1.6 %, as long as the
	// other content is not larger; a larger one leaves fewer of them below the common bound.
	Size = 1024
	// enough is how many hashes an estimate needs, else it would be a guess.
	enough = 32
)

// Sketch is what is known of one content. The zero value is that of a content without data. Not safe for concurrent use while
// it is added to.
type Sketch struct {
	hashes []uint64 // ascending, no two equal
}

var zeroes [BlockSize]byte

// Add takes up the blocks of data, which begins at a multiple of BlockSize. What follows the last whole block is left out. The
// order of calls does not matter.
func (s *Sketch) Add(data []byte) {
	for ; len(data) >= BlockSize; data = data[BlockSize:] {
		block := data[:BlockSize]
		if h := xxhash.Sum64(block); h <= s.bound() && !bytes.Equal(block, zeroes[:]) {
			s.insert(h)
		}
	}
}

// bound returns the greatest hash up to which the sketch has all of its content's.
func (s *Sketch) bound() uint64 {
	if len(s.hashes) < Size {
		return math.MaxUint64
	}
	return s.hashes[Size-1]
}

func (s *Sketch) insert(h uint64) {
	at, found := slices.BinarySearch(s.hashes, h)
	if found {
		return
	}
	if len(s.hashes) == Size {
		s.hashes = s.hashes[:Size-1]
	}
	s.hashes = slices.Insert(s.hashes, at, h)
}

// In estimates how much of what s describes is also in the other content, in percent of its different blocks. known is false
// when the sketches say too little: the content is small, or the other one very much larger.
func (s *Sketch) In(other *Sketch) (percent int, known bool) {
	bound := min(s.bound(), other.bound())
	all, both, j := 0, 0, 0
	for _, h := range s.hashes {
		if h > bound {
			break
		}
		all++
		for j < len(other.hashes) && other.hashes[j] < h {
			j++
		}
		if j < len(other.hashes) && other.hashes[j] == h {
			both++
		}
	}
	if all < enough {
		return 0, false
	}
	return (100*both + all/2) / all, true
}
