package delta

import (
	"math/bits"
	"math/rand/v2"
)

const (
	// reach is how many bytes decide about a position: those that a rolling hash of 64 bits remembers.
	reach = 64
	// sampleBits says that one position in 2^sampleBits is remembered, at least.
	sampleBits = 7
	// maxSlots bounds the memory of an index to 128 MiB. Of a base with more samples than that fewer are remembered.
	maxSlots = 1 << 24
	minSlots = 1 << 10
	ways     = 2 // positions remembered of those that fall together

	offsetBits = 44 // 16 TiB, the longest content
)

// gear holds a random number for each byte; both sides of a comparison run in one process, so they need not be agreed upon.
var gear = func() (g [256]uint64) {
	r := rand.New(rand.NewPCG(0x61746f6c6c, 1)) //nolint:gosec // not a secret
	for i := range g {
		g[i] = r.Uint64()
	}
	return g
}()

// Index remembers where in a base which bytes are. Adding and encoding must not happen at the same time.
type Index struct {
	slots []uint64 // of each: 20 bits of the hash, then the offset behind the bytes; 0: none
	shift int      // of a hash, to get a bucket
	mask  uint64   // positions whose hash has all of these bits are remembered

	hash uint64
	next int64 // offset at which Add goes on
	warm int   // bytes since the hash began, up to reach
}

// NewIndex returns an index for a base with so many bytes of data, zeroes not counted. It takes a tenth of that in memory, 128 MiB
// at most.
func NewIndex(data int64) *Index {
	sample, slots := sampleBits, int64(minSlots)
	for data>>sample > maxSlots {
		sample++
	}
	for slots < (data>>sample)*3/2 && slots < maxSlots {
		slots <<= 1
	}
	return &Index{
		slots: make([]uint64, slots), shift: 64 - bits.Len64(uint64(slots-1)),
		mask: (1<<sample - 1) << 40, next: -1,
	}
}

// Add remembers the bytes at an offset of the base. Call it with rising offsets; zeroes need not be added.
func (x *Index) Add(offset int64, p []byte) {
	if offset != x.next {
		x.hash, x.warm = 0, 0
	}
	h := x.hash
	for i, b := range p {
		h = h<<1 + gear[b]
		if h&x.mask == x.mask && x.warm+i+1 >= reach {
			x.put(h, offset+int64(i)+1)
		}
	}
	x.hash, x.next, x.warm = h, offset+int64(len(p)), min(reach, x.warm+len(p))
}

// bucket returns the slots of a hash, and the tag by which its entries are known.
func (x *Index) bucket(hash uint64) (slots []uint64, tag uint64) {
	hash *= 0x9e3779b97f4a7c15 // spreads the bits that all samples share
	i := hash >> x.shift &^ (ways - 1)
	return x.slots[i : i+ways], hash << offsetBits
}

// put remembers that the bytes before an offset have a hash, instead of the oldest one in its bucket.
func (x *Index) put(hash uint64, offset int64) {
	slots, tag := x.bucket(hash)
	if old := slots[0]; old != 0 && old>>offsetBits<<offsetBits != tag {
		slots[1] = old
	}
	slots[0] = tag | uint64(offset)
}

// find calls f with each offset at which the bytes before may have a hash.
func (x *Index) find(hash uint64, f func(offset int64)) {
	slots, tag := x.bucket(hash)
	for _, s := range slots {
		if s != 0 && s>>offsetBits<<offsetBits == tag {
			f(int64(s & (1<<offsetBits - 1)))
		}
	}
}
