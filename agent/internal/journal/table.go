package journal

import "github.com/atoll-dcn/atoll/pkg/manifest"

// entry is what is known of a chunk. The zero digest means unknown.
type entry struct {
	digest manifest.Digest
	sum    uint64 // 0: unknown
}

// table maps chunks to entries. Pages keep it small for images whose data is scattered.
type table struct {
	pages map[int]*page
	n     int
}

const pageSize = 64

type page [pageSize]entry

func newTable() *table { return &table{pages: make(map[int]*page)} }

func (t *table) get(i int) entry {
	p := t.pages[i/pageSize]
	if p == nil || i < 0 {
		return entry{}
	}
	return p[i%pageSize]
}

func (t *table) set(i int, e entry) {
	p := t.pages[i/pageSize]
	if p == nil {
		if e.digest.IsZero() {
			return
		}
		p = new(page)
		t.pages[i/pageSize] = p
	}
	switch was := p[i%pageSize].digest; {
	case was.IsZero() && !e.digest.IsZero():
		t.n++
	case !was.IsZero() && e.digest.IsZero():
		t.n--
	}
	p[i%pageSize] = e
}

// each calls f for every known chunk, in no particular order.
func (t *table) each(f func(i int, e entry)) {
	for n, p := range t.pages {
		for k, e := range p {
			if !e.digest.IsZero() {
				f(n*pageSize+k, e)
			}
		}
	}
}
