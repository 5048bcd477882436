package staging

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/sketch"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// sketchFile is the name of the sketch in the directory of a content. It is a help and no more: it may be missing, and nobody
// waits until it is durable.
const sketchFile = "sketch"

// likeness is what is known of the sketch of a content. Area.mu guards it.
type likeness struct {
	sketch *sketch.Sketch // nil: not loaded, or there is none; not changed any more
	stored bool           // the sketch is on disk
	used   time.Time
	parts  *gathering // of a complete content that has no sketch; nil until a chunk of it passes
}

// gathering makes the sketch of a content from its chunks, which pass in any order and more than once.
type gathering struct {
	mu     sync.Mutex // not held together with Area.mu
	sketch sketch.Sketch
	seen   []bool // by chunk
	left   int    // chunks with data that have not been seen
}

func newGathering(digests []manifest.Digest) *gathering {
	return &gathering{seen: make([]bool, len(digests)), left: dataChunks(digests)}
}

func dataChunks(digests []manifest.Digest) int {
	n := 0
	for _, d := range digests {
		if !d.IsZero() {
			n++
		}
	}
	return n
}

// add reports whether the chunk was the last one that was missing.
func (g *gathering) add(index int, chunk []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if index >= len(g.seen) || g.seen[index] { // or the content was replaced by another one just now
		return false
	}
	g.sketch.Add(chunk)
	g.seen[index] = true
	g.left--
	return g.left == 0
}

func (c *content) sketchPath() string { return filepath.Join(c.dir, sketchFile) }

// Sketch returns the sketch of a complete content, nil when there is none. It is shared and must not be changed. It reads at most
// a small file.
func (a *Area) Sketch(id image.ID) *sketch.Sketch {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.contents[id]
	if c == nil || c.state != complete {
		return nil
	}
	c.like.used = a.o.Now()
	if c.like.sketch != nil || !c.like.stored {
		return c.like.sketch
	}
	a.mu.Unlock()
	s, err := readSketch(c.sketchPath())
	a.mu.Lock()
	if err != nil {
		a.o.Log.Warn("sketch not used", "content", id, "error", err)
		c.like.stored = false // made again when the data passes next
		return nil
	}
	c.like.sketch = s
	return s
}

func readSketch(path string) (*sketch.Sketch, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, diskFault(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, int64(sketch.MaxEncoded)+1))
	if err != nil {
		return nil, diskFault(err)
	}
	return sketch.Decode(b)
}

// writeSketch stores a sketch. Without it nothing fails.
func (a *Area) writeSketch(c *content, s *sketch.Sketch) (stored bool) {
	err := writeFile(c.sketchPath(), false, func(w io.Writer) error {
		_, err := w.Write(s.Encode())
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // else the content was forgotten
		a.o.Log.Warn("sketch not stored", "content", c.id, "error", err)
	}
	return err == nil
}

// passes takes a chunk of a complete content up that has no sketch. The chunk has been compared with its digest and holds data.
func (a *Area) passes(id image.ID, index int, chunk []byte) {
	a.mu.Lock()
	c := a.contents[id]
	if c == nil || c.state != complete || c.end == nil || c.like.stored || c.like.sketch != nil {
		a.mu.Unlock()
		return
	}
	if c.like.parts == nil {
		c.like.parts = newGathering(c.digests)
	}
	parts := c.like.parts
	c.like.used = a.o.Now()
	a.mu.Unlock()
	if !parts.add(index, chunk) {
		return
	}
	stored := !c.transient && a.writeSketch(c, &parts.sketch)
	a.mu.Lock()
	defer a.mu.Unlock()
	c.like = likeness{sketch: &parts.sketch, stored: stored, used: a.o.Now()}
}

// collectSketch forgets what is on disk and what was begun long ago. Lock held.
func (c *content) collectSketch(now time.Time) {
	if now.Sub(c.like.used) < manifestStays {
		return
	}
	c.like.parts = nil
	if c.like.stored {
		c.like.sketch = nil
	}
}
