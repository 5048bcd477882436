package imageapi

import (
	"iter"
	"slices"
)

// selection picks one page of images.
type selection struct {
	images Sequence
	wanted func(*Image) bool
	order  []order
	after  *Image // the marker; nil: from the start
	limit  int
}

// pick returns the page: at most limit images that are wanted, in order, after the marker.
func (s selection) pick() []*Image {
	if s.limit == 0 {
		return nil
	}
	same, reverse := byAge(s.order)
	switch {
	case same:
		return s.first(s.images.After(s.after))
	case reverse:
		return s.first(s.images.Before(s.after))
	}
	return s.best()
}

// first returns the first images of a sequence that are wanted.
func (s selection) first(images iter.Seq[*Image]) []*Image {
	var page []*Image
	for img := range images {
		if s.wanted(img) {
			if page = append(page, img); len(page) == s.limit {
				break
			}
		}
	}
	return page
}

// best looks at all images and keeps the first ones, so that it sorts a page and not the catalog.
func (s selection) best() []*Image {
	var page []*Image
	first := func(a, b *Image) int { return compare(s.order, a, b) }
	for img := range s.images.After(nil) {
		if len(page) == s.limit && first(img, page[len(page)-1]) >= 0 {
			continue
		}
		if s.after != nil && first(img, s.after) <= 0 || !s.wanted(img) {
			continue
		}
		at, _ := slices.BinarySearchFunc(page, img, first)
		if len(page) == s.limit {
			page = page[:len(page)-1]
		}
		page = slices.Insert(page, at, img)
	}
	return page
}
