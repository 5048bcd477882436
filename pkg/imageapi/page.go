package imageapi

import (
	"slices"
	"sort"
)

// selection picks one page of images.
type selection struct {
	images []*Image // newest first
	wanted func(*Image) bool
	order  []order
	after  *Image // the marker; nil: from the start
	limit  int
}

// newest is the order of a source.
var newest = []order{{"created_at", true}, {"id", true}}

// pick returns the page: at most limit images that are wanted, in order, after the marker.
func (s selection) pick() []*Image {
	if s.limit == 0 {
		return nil
	}
	same, reverse := byAge(s.order)
	switch {
	case same:
		return s.forward()
	case reverse:
		return s.backward()
	}
	return s.best()
}

// place returns the position of the first image that comes after the marker or is it.
func (s selection) place() int {
	return sort.Search(len(s.images), func(i int) bool { return compare(newest, s.images[i], s.after) >= 0 })
}

func (s selection) forward() []*Image {
	from := 0
	if s.after != nil {
		from = s.place()
		if from < len(s.images) && s.images[from].ID == s.after.ID {
			from++
		}
	}
	var page []*Image
	for _, img := range s.images[from:] {
		if s.wanted(img) {
			if page = append(page, img); len(page) == s.limit {
				break
			}
		}
	}
	return page
}

func (s selection) backward() []*Image {
	to := len(s.images)
	if s.after != nil {
		to = s.place()
	}
	var page []*Image
	for _, img := range slices.Backward(s.images[:to]) {
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
	for _, img := range s.images {
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
