package imageapi

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// TestSequenceIsWhatSortingYields changes a sequence at random and compares it with a slice that is sorted anew.
func TestSequenceIsWhatSortingYields(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		model := map[image.ID]*Image{}
		draw := func(id image.ID) *Image {
			return &Image{ID: id, CreatedAt: time.Unix(int64(rapid.IntRange(0, 50).Draw(rt, "created")), 0)}
		}
		for n := range rapid.SampledFrom([]int{0, 1, 300, 3000}).Draw(rt, "start") {
			id := image.ID(fmt.Sprintf("%05d", n))
			model[id] = &Image{ID: id, CreatedAt: time.Unix(int64(n%51), 0)}
		}
		var all []*Image
		for _, img := range model {
			all = append(all, img)
		}
		s := NewSequence(all)
		for range rapid.IntRange(0, 8).Draw(rt, "changes") {
			old, before := s, collect(s)
			var out, in []*Image
			first, span := rapid.IntRange(0, 3000).Draw(rt, "first"), rapid.SampledFrom([]int{1, 5, 700}).Draw(rt, "span")
			for n := first; n < first+span; n++ {
				id := image.ID(fmt.Sprintf("%05d", n))
				if img := model[id]; img != nil {
					out = append(out, img)
					delete(model, id)
				}
				if rapid.Bool().Draw(rt, "in") {
					model[id] = draw(id)
					in = append(in, model[id])
				}
			}
			s = s.With(out, in)
			checkSequence(rt, s, model)
			if !slices.Equal(collect(old), before) {
				rt.Fatal("a sequence has changed")
			}
		}
		checkSequence(rt, s, model)
		mark := draw(image.ID(fmt.Sprintf("%05d", rapid.IntRange(0, 3000).Draw(rt, "mark"))))
		checkMark(rt, s, mark)
	})
}

func collect(s Sequence) []*Image { return slices.Collect(s.After(nil)) }

func checkSequence(rt *rapid.T, s Sequence, model map[image.ID]*Image) {
	var want []*Image
	for _, img := range model {
		want = append(want, img)
	}
	slices.SortFunc(want, newestFirst)
	if got := collect(s); !slices.Equal(got, want) || s.Len() != len(want) {
		rt.Fatalf("%d images in another order than %d that were sorted", len(got), len(want))
	}
	slices.Reverse(want)
	if got := slices.Collect(s.Before(nil)); !slices.Equal(got, want) {
		rt.Fatal("backwards is not the reverse of forwards")
	}
	for i, part := range s.parts {
		if len(part) == 0 || len(part) > mostInPart {
			rt.Fatalf("part %d has %d images", i, len(part))
		}
	}
}

// checkMark compares what comes after and before an image that need not be there.
func checkMark(rt *rapid.T, s Sequence, mark *Image) {
	var after, before []*Image
	for _, img := range collect(s) {
		switch c := newestFirst(img, mark); {
		case c > 0:
			after = append(after, img)
		case c < 0:
			before = append(before, img)
		}
	}
	slices.Reverse(before)
	if !slices.Equal(slices.Collect(s.After(mark)), after) || !slices.Equal(slices.Collect(s.Before(mark)), before) {
		rt.Fatalf("after or before %v is wrong", mark.CreatedAt)
	}
}

func TestSequenceStopsWhenItsReaderDoes(t *testing.T) {
	s := NewSequence([]*Image{{ID: "a"}, {ID: "b"}, {ID: "c"}})
	for _, seq := range []func(func(*Image) bool){s.After(nil), s.Before(nil)} {
		n := 0
		for range seq {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d images were read", n)
		}
	}
	for range (Sequence{}).Before(nil) {
		t.Error("nothing has an image")
	}
	for range (Sequence{}).After(&Image{ID: "a"}) {
		t.Error("nothing has an image")
	}
}

func TestSequenceKeepsFewShortParts(t *testing.T) {
	var images []*Image
	for n := range 10_000 {
		images = append(images, &Image{ID: image.ID(fmt.Sprintf("%05d", n))})
	}
	s := NewSequence(images)
	for n := range images {
		if n%1000 != 0 {
			s = s.With([]*Image{images[n]}, nil)
		}
	}
	if len(s.parts) > 2 {
		t.Errorf("%d parts hold 10 images", len(s.parts))
	}
}
