package imageapi

import (
	"cmp"
	"slices"
	"strings"
)

// order is one key that a list is sorted by.
type order struct {
	key        string
	descending bool
}

// sortKeys compare two images by each key that a list may be sorted by. What is null comes first.
var sortKeys = map[string]func(a, b *Image) int{
	"name":             func(a, b *Image) int { return strings.Compare(a.Name, b.Name) },
	"status":           func(a, b *Image) int { return strings.Compare(string(a.Status), string(b.Status)) },
	"container_format": func(a, b *Image) int { return strings.Compare(a.ContainerFormat, b.ContainerFormat) },
	"disk_format":      func(a, b *Image) int { return strings.Compare(a.DiskFormat, b.DiskFormat) },
	"size":             func(a, b *Image) int { return cmp.Compare(a.Size, b.Size) },
	"id":               func(a, b *Image) int { return strings.Compare(string(a.ID), string(b.ID)) },
	"created_at":       func(a, b *Image) int { return a.CreatedAt.Compare(b.CreatedAt) },
	"updated_at":       func(a, b *Image) int { return a.UpdatedAt.Compare(b.UpdatedAt) },
}

// sorting is how a query says what to sort by, in its old form and its new one.
type sorting struct {
	keys, dirs []string // sort_key=name&sort_dir=asc
	compact    bool     // sort=name:asc
	text       string
}

// parse returns the keys to sort by, which always end with what makes the order total.
func (s *sorting) parse() ([]order, error) {
	if s.compact {
		if len(s.keys) > 0 || len(s.dirs) > 0 {
			return nil, badQuery("Old and new sorting syntax cannot be combined")
		}
		for item := range strings.SplitSeq(s.text, ",") {
			key, dir, _ := strings.Cut(item, ":")
			if strings.TrimSpace(dir) == "" {
				dir = "desc"
			}
			s.keys, s.dirs = append(s.keys, strings.TrimSpace(key)), append(s.dirs, strings.TrimSpace(dir))
			if len(s.keys) > len(sortKeys) {
				break
			}
		}
	}
	if len(s.keys) > len(sortKeys) {
		return nil, badQuery("The list can be sorted by at most %d keys.", len(sortKeys))
	}
	return s.complete()
}

// complete checks keys and directions and appends the keys that make the order total.
func (s *sorting) complete() ([]order, error) {
	for _, dir := range s.dirs {
		if dir != "asc" && dir != "desc" {
			return nil, badQuery("Invalid sort direction: %s. It must be either \"asc\" or \"desc\".", clip(dir))
		}
	}
	fallback := "desc"
	if len(s.dirs) == 1 {
		fallback = s.dirs[0]
	}
	if len(s.dirs) > 1 && len(s.dirs) != len(s.keys) {
		return nil, badQuery("Number of sort dirs does not match the number of sort keys")
	}
	var orders []order
	for i, key := range s.keys {
		if sortKeys[key] == nil {
			return nil, badQuery("Invalid sort key: %s.", clip(key))
		}
		dir := fallback
		if len(s.dirs) > 1 {
			dir = s.dirs[i]
		}
		orders = append(orders, order{key, dir == "desc"})
	}
	for _, key := range []string{"created_at", "id"} {
		if !slices.Contains(s.keys, key) {
			orders = append(orders, order{key, fallback == "desc"})
		}
	}
	return orders, nil
}

// byAge reports whether the order is that of the source, or its reverse.
func byAge(orders []order) (same, reverse bool) {
	if len(orders) < 2 || orders[0].key != "created_at" || orders[1].key != "id" || orders[0].descending != orders[1].descending {
		return false, false
	}
	return orders[0].descending, !orders[0].descending
}

// compare compares two images by all keys.
func compare(orders []order, a, b *Image) int {
	for _, o := range orders {
		c := sortKeys[o.key](a, b)
		if c == 0 {
			continue
		}
		if o.descending {
			return -c
		}
		return c
	}
	return 0
}
