package replica

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// ledger keeps with the hidden image itself what its store should say of the chunks that are written, so that an agent
// without the journal need not read them. It lies in the image's metadata, a key for each page of chunks, and goes before the
// image is published.
//
// Each sum is bound to the content, the number and the digest of its chunk. It only ever acquits: a chunk whose sum is
// missing, damaged, of other bytes or not what the store says is read. Therefore nothing depends on when a page is stored,
// and one that was not costs reading its chunks. Safe for concurrent use; nil keeps and knows nothing.
type ledger struct {
	content image.ID
	step    int // chunks after which it is stored

	mu      sync.Mutex
	pages   map[int]*ledgerPage
	changed int  // chunks that are not yet stored
	storing bool // somebody does
}

func newLedger(content image.ID, step int) *ledger {
	return &ledger{content: content, step: step, pages: map[int]*ledgerPage{}}
}

// ledgerPage is what is known of ledgerChunks chunks in a row.
type ledgerPage struct {
	lines [ledgerChunks]ledgerLine
	dirty bool
	kept  bool // the image has a key for it
}

// ledgerLine is what the store should say of a chunk, and what binds that to the chunk; all zeroes when unknown.
type ledgerLine struct{ sum, bond uint64 }

const (
	ledgerChunks = 256 // 1 GiB, and 5.5 KB of metadata
	ledgerLength = ledgerChunks * 16
)

func ledgerKey(page int) string { return fmt.Sprintf("%s%06d", metaSums, page) }

// bond binds a sum to what it is one of.
func (l *ledger) bond(i int, d manifest.Digest, sum uint64) uint64 {
	b := append(make([]byte, 0, 96), l.content...)
	b = binary.BigEndian.AppendUint64(b, uint64(i))
	b = append(b, d[:]...)
	b = binary.BigEndian.AppendUint64(b, sum)
	digest := frame.Sum(b)
	return binary.BigEndian.Uint64(digest[:])
}

// sum returns what the store should say of chunk i with digest d.
func (l *ledger) sum(i int, d manifest.Digest) (uint64, bool) {
	if l == nil {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[i/ledgerChunks]
	if p == nil {
		return 0, false
	}
	line := p.lines[i%ledgerChunks]
	return line.sum, line.sum != 0 && line.bond == l.bond(i, d, line.sum)
}

// add notes what the store should say of chunk i, which has been written with digest d. It reports whether it is time to store.
func (l *ledger) add(i int, d manifest.Digest, sum uint64) bool {
	if l == nil || sum == 0 {
		return false
	}
	line := ledgerLine{sum: sum, bond: l.bond(i, d, sum)}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[i/ledgerChunks]
	if p == nil {
		p = &ledgerPage{}
		l.pages[i/ledgerChunks] = p
	}
	if p.lines[i%ledgerChunks] == line {
		return false
	}
	p.lines[i%ledgerChunks], p.dirty = line, true
	l.changed++
	return l.changed >= l.step && !l.storing
}

// metadata is the part of an image in which a ledger is kept.
type metadata interface {
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
}

// load reads what is kept with an image of size bytes. What does not look like a page is one that says nothing.
func (l *ledger) load(ctx context.Context, img metadata, size int64) error {
	for n := range pagesOf(size) {
		value, err := img.Meta(ctx, ledgerKey(n))
		if err != nil {
			return atStore(err)
		}
		if value == "" {
			continue
		}
		p := &ledgerPage{kept: true}
		l.pages[n] = p
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(b) != ledgerLength {
			continue
		}
		for k := range p.lines {
			p.lines[k] = ledgerLine{sum: binary.BigEndian.Uint64(b[16*k:]), bond: binary.BigEndian.Uint64(b[16*k+8:])}
		}
	}
	return nil
}

func pagesOf(size int64) int { return (manifest.Count(size) + ledgerChunks - 1) / ledgerChunks }

// store writes the changed pages, unless somebody else does.
func (l *ledger) store(ctx context.Context, img metadata) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.storing {
		return nil
	}
	l.storing, l.changed = true, 0
	defer func() { l.storing = false }()
	for n, p := range l.pages {
		if !p.dirty {
			continue
		}
		value := p.encode()
		p.dirty, p.kept = false, true
		l.mu.Unlock()
		err := img.SetMeta(ctx, ledgerKey(n), value)
		l.mu.Lock()
		if err != nil {
			p.dirty = true
			return err
		}
	}
	return nil
}

func (p *ledgerPage) encode() string {
	b := make([]byte, 0, ledgerLength)
	for _, line := range p.lines {
		b = binary.BigEndian.AppendUint64(b, line.sum)
		b = binary.BigEndian.AppendUint64(b, line.bond)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// drop removes what is kept with the image. Nobody may use the ledger meanwhile, or afterwards.
func (l *ledger) drop(ctx context.Context, img metadata) error {
	if l == nil {
		return nil
	}
	for n, p := range l.pages {
		if !p.kept {
			continue
		}
		if err := img.SetMeta(ctx, ledgerKey(n), ""); err != nil {
			return err
		}
	}
	return nil
}
