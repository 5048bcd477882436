package journal

import "github.com/atoll-dcn/atoll/pkg/manifest"

// table maps chunks to digests. Pages keep it small for images whose data is scattered; the zero digest means unknown.
type table struct {
	pages map[int]*page
	n     int
}

const pageSize = 64

type page [pageSize]manifest.Digest

func newTable() *table { return &table{pages: make(map[int]*page)} }

func (t *table) get(i int) manifest.Digest {
	p := t.pages[i/pageSize]
	if p == nil || i < 0 {
		return manifest.Digest{}
	}
	return p[i%pageSize]
}

func (t *table) set(i int, d manifest.Digest) {
	p := t.pages[i/pageSize]
	if p == nil {
		if d.IsZero() {
			return
		}
		p = new(page)
		t.pages[i/pageSize] = p
	}
	switch was := p[i%pageSize]; {
	case was.IsZero() && !d.IsZero():
		t.n++
	case !was.IsZero() && d.IsZero():
		t.n--
	}
	p[i%pageSize] = d
}

// each calls f for every known chunk, in no particular order.
func (t *table) each(f func(i int, d manifest.Digest)) {
	for n, p := range t.pages {
		for k, d := range p {
			if !d.IsZero() {
				f(n*pageSize+k, d)
			}
		}
	}
}
