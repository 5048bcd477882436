package imageapi

import (
	"cmp"
	"iter"
	"slices"
	"sort"
)

// Sequence is images, newest first: by created_at, then id, both descending. It never changes; a changed one is made from
// it at the cost of what differs, since it is kept in parts. The zero value is empty.
type Sequence struct {
	parts [][]*Image // none is empty
}

// mostInPart bounds the length of a part.
const mostInPart = 512

// newestFirst is the order of a Sequence.
func newestFirst(a, b *Image) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

// NewSequence returns a sequence of the images, which may be in any order. Each has an id of its own.
func NewSequence(images []*Image) Sequence {
	sorted := slices.Clone(images)
	slices.SortFunc(sorted, newestFirst)
	return Sequence{cut(nil, sorted)}
}

// cut appends images to parts in parts that are not too long.
func cut(parts [][]*Image, images []*Image) [][]*Image {
	if len(images) <= mostInPart {
		if len(images) > 0 {
			parts = append(parts, images)
		}
		return parts
	}
	for part := range slices.Chunk(images, mostInPart/2) { // there is room for more in each
		parts = append(parts, part)
	}
	return parts
}

// Len returns the number of images.
func (s Sequence) Len() int {
	n := 0
	for _, part := range s.parts {
		n += len(part)
	}
	return n
}

// After returns the images that come after img, which need not be one of them; all for nil.
func (s Sequence) After(img *Image) iter.Seq[*Image] {
	return func(yield func(*Image) bool) {
		first, from := 0, 0
		if img != nil && len(s.parts) > 0 {
			first = s.part(img)
			from = sort.Search(len(s.parts[first]), func(i int) bool { return newestFirst(s.parts[first][i], img) > 0 })
		}
		for _, part := range s.parts[first:] {
			for _, next := range part[from:] {
				if !yield(next) {
					return
				}
			}
			from = 0
		}
	}
}

// Before returns the images that come before img, which need not be one of them, in reverse order; all for nil.
func (s Sequence) Before(img *Image) iter.Seq[*Image] {
	return func(yield func(*Image) bool) {
		last := len(s.parts) - 1
		if last < 0 {
			return
		}
		to := len(s.parts[last])
		if img != nil {
			last = s.part(img)
			to = sort.Search(len(s.parts[last]), func(i int) bool { return newestFirst(s.parts[last][i], img) >= 0 })
		}
		for ; last >= 0; last-- {
			for _, next := range slices.Backward(s.parts[last][:to]) {
				if !yield(next) {
					return
				}
			}
			if last > 0 {
				to = len(s.parts[last-1])
			}
		}
	}
}

// part returns the place of the part that img is in, or would be in. There is one.
func (s Sequence) part(img *Image) int {
	after := sort.Search(len(s.parts), func(i int) bool { return newestFirst(s.parts[i][0], img) > 0 })
	return max(after-1, 0)
}

// With returns a sequence without the images in out, which are in s, and with those in in, which are not once out is gone.
// The slices are sorted in place.
func (s Sequence) With(out, in []*Image) Sequence {
	if len(s.parts) == 0 {
		return NewSequence(in)
	}
	slices.SortFunc(out, newestFirst)
	slices.SortFunc(in, newestFirst)
	parts, done := make([][]*Image, 0, len(s.parts)+1), 0
	for len(out) > 0 || len(in) > 0 {
		at := s.part(earliest(out, in))
		parts = follow(parts, s.parts[done:at])
		done = at + 1
		nOut, nIn := len(out), len(in)
		if done < len(s.parts) {
			end := s.parts[done][0]
			nOut, nIn = before(out, end), before(in, end)
		}
		parts = join(parts, merge(s.parts[at], out[:nOut], in[:nIn]))
		out, in = out[nOut:], in[nIn:]
	}
	return Sequence{follow(parts, s.parts[done:])}
}

// follow appends parts that have not changed to some whose last one has.
func follow(parts, same [][]*Image) [][]*Image {
	if len(same) == 0 {
		return parts
	}
	return append(join(parts, same[0]), same[1:]...)
}

// earliest returns the image that comes first in two sorted slices, of which one at least is not empty.
func earliest(a, b []*Image) *Image {
	if len(b) == 0 || len(a) > 0 && newestFirst(a[0], b[0]) <= 0 {
		return a[0]
	}
	return b[0]
}

// before returns how many images of a sorted slice come before end.
func before(images []*Image, end *Image) int {
	return sort.Search(len(images), func(i int) bool { return newestFirst(images[i], end) >= 0 })
}

// merge returns a part without the images in out and with those in in.
func merge(part, out, in []*Image) []*Image {
	next := make([]*Image, 0, len(part)+len(in))
	for _, img := range part {
		for len(in) > 0 && newestFirst(in[0], img) < 0 {
			next, in = append(next, in[0]), in[1:]
		}
		if len(out) > 0 && out[0].ID == img.ID {
			out = out[1:]
			continue
		}
		next = append(next, img)
	}
	return append(next, in...)
}

// join appends a part that was made anew, split when it is too long and together with its neighbour when both are short.
func join(parts [][]*Image, part []*Image) [][]*Image {
	if n := len(parts); n > 0 && len(parts[n-1])+len(part) <= mostInPart/4 {
		parts[n-1] = slices.Concat(parts[n-1], part)
		return parts
	}
	return cut(parts, part)
}
