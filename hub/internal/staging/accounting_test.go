package staging

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Whatever happens: the used bytes are those of the files, never above the limit, and no pinned frame goes.
func TestAccounting(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clk := newClock()
		dir, err := os.MkdirTemp(memory(t), "area")
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{dir: dir, clk: clk, pins: map[image.ID]int{}, chunks: map[image.ID][][]byte{}}
		m.open(rt)
		defer func() { _ = m.a.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"write":   m.write,
			"write 2": m.write,
			"need":    m.need,
			"read":    m.read,
			"put":     m.put,
			"collect": m.collect,
			"forget":  m.forget,
			"restart": m.restart,
			"":        m.check,
		})
	})
}

// memory returns a directory where making files durable costs nothing, if there is one.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "atoll-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// model knows what has been done to an area. To be quick, the area is a small one and every content has one frame, that
// of its last chunk, which is short; the chunks before it are zeroes.
type model struct {
	a      *Area
	dir    string
	clk    *clock
	ids    []image.ID
	pins   map[image.ID]int
	chunks map[image.ID][][]byte
	n      int
}

func (m *model) open(rt *rapid.T) {
	a, err := Open(Options{Dir: m.dir, Limit: MinLimit, Retention: time.Minute, Now: m.clk.now})
	if err != nil {
		rt.Fatal(err)
	}
	a.o.Limit = 3 * (short + frame.HeaderSize)
	m.a = a
}

// soon bounds calls that wait, for nobody else is there to end the wait.
func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Millisecond)
}

// write commits a content if it fits.
func (m *model) write(rt *rapid.T) {
	id := image.NewID()
	w, err := m.a.Create(id)
	if err != nil {
		rt.Fatal(err)
	}
	var length int64
	var chunks [][]byte
	for range rapid.IntRange(0, 1).Draw(rt, "zeroes") {
		chunks = append(chunks, zeroChunk)
	}
	m.n++
	chunks = append(chunks, fillChunk(make([]byte, rapid.IntRange(8, short).Draw(rt, "length")), m.n))
	for _, c := range chunks {
		ctx, cancel := soon()
		err := w.Append(ctx, c)
		cancel()
		if err != nil {
			w.Abort("no space")
			m.a.Forget(id)
			return
		}
		length += int64(len(c))
	}
	if _, _, err := w.Commit(context.Background(), length); err != nil {
		rt.Fatal(err)
	}
	m.ids, m.chunks[id], m.pins[id] = append(m.ids, id), chunks, 0
}

func (m *model) pick(rt *rapid.T) image.ID {
	if len(m.ids) == 0 {
		rt.Skip("no content")
	}
	return rapid.SampledFrom(m.ids).Draw(rt, "content")
}

// need moves the pin of one content forward and replaces all needs.
func (m *model) need(rt *rapid.T) {
	id := m.pick(rt)
	m.pins[id] = rapid.IntRange(m.pins[id], len(m.chunks[id])).Draw(rt, "pin")
	needs := map[image.ID]Need{}
	for _, id := range m.ids {
		needs[id] = Need{
			PinFrom: m.pins[id], Fills: rapid.IntRange(0, 2).Draw(rt, "fills"), HasSource: rapid.Bool().Draw(rt, "source"),
		}
	}
	m.a.SetNeeds(needs)
}

func (m *model) read(rt *rapid.T) {
	id := m.pick(rt)
	ctx, cancel := soon()
	defer cancel()
	_, done, err := m.a.OpenFrame(ctx, id, len(m.chunks[id])-1, rapid.Bool().Draw(rt, "verify"))
	if err == nil {
		done(rapid.Bool().Draw(rt, "served"))
	}
}

func (m *model) put(rt *rapid.T) {
	id := m.pick(rt)
	index := len(m.chunks[id]) - 1
	ctx, cancel := soon()
	defer cancel()
	_ = m.a.PutFrame(ctx, id, index, encoded(rt, m.chunks[id][index]))
}

func (m *model) collect(rt *rapid.T) {
	m.clk.advance(time.Duration(rapid.IntRange(0, 90).Draw(rt, "seconds")) * time.Second)
	m.a.collect()
}

func (m *model) forget(rt *rapid.T) {
	id := m.pick(rt)
	m.a.Forget(id)
	m.ids = slices.DeleteFunc(m.ids, func(x image.ID) bool { return x == id })
}

func (m *model) restart(rt *rapid.T) {
	if err := m.a.Close(); err != nil {
		rt.Fatal(err)
	}
	m.open(rt)
}

func (m *model) check(rt *rapid.T) {
	files, err := filepath.Glob(filepath.Join(m.a.o.Dir, contentsDir, "*", framesDir, "*"))
	if err != nil {
		rt.Fatal(err)
	}
	onDisk := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			rt.Fatal(err)
		}
		onDisk += info.Size()
	}
	used, limit := m.a.Usage()
	if used != onDisk || used > limit {
		rt.Fatalf("%d bytes used, %d on disk, limit %d", used, onDisk, limit)
	}
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	if len(m.a.contents) != len(m.ids) {
		rt.Fatalf("%d contents, want %d", len(m.a.contents), len(m.ids))
	}
	for _, id := range m.ids {
		if last := len(m.chunks[id]) - 1; last >= m.pins[id] && m.a.contents[id].frames[last] == nil {
			rt.Fatalf("the only copy of chunk %d is gone", last)
		}
	}
}
