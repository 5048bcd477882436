package staging

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// evicted commits a content and has its frames collected.
func evicted(t testing.TB, a *Area, id image.ID, chunks ...[]byte) {
	t.Helper()
	write(t, a, id, chunks...)
	a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
	a.collect()
	if n := info(t, a, id).Frames; n != 0 {
		t.Fatalf("%d frames are left", n)
	}
}

// source answers the demands for a content, counting what it reads.
type source struct {
	a      *Area
	id     image.ID
	chunks [][]byte
	mu     sync.Mutex
	reads  map[int]int
}

// serve offers with some workers until ctx ends.
func (s *source) serve(ctx context.Context, t testing.TB, workers int) (wait func()) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				indexes, err := s.a.Demand(ctx, s.id, 4)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("Demand: %v", err)
					return
				}
				for _, i := range indexes {
					s.mu.Lock()
					s.reads[i]++
					s.mu.Unlock()
					if err := s.a.PutFrame(ctx, s.id, i, encoded(t, s.chunks[i])); err != nil && ctx.Err() == nil {
						t.Errorf("PutFrame %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	return wg.Wait
}

func chunksWithHoles(n int) [][]byte {
	chunks := make([][]byte, n)
	for i := range chunks {
		if chunks[i] = zeroChunk; i%5 != 3 {
			chunks[i] = chunk(i)
		}
	}
	return chunks
}

func readAll(ctx context.Context, a *Area, id image.ID, chunks [][]byte, each func(i int)) error {
	buf := make([]byte, manifest.ChunkSize)
	for i, want := range chunks {
		got, err := a.ReadChunk(ctx, id, i, buf)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fault.New(fault.Corrupt, "TEST", "chunk %d differs", i)
		}
		if each != nil {
			each(i)
		}
	}
	return nil
}

// Three sites read at the same time: the source is read once.
func TestOneReadForThreeSites(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	chunks := chunksWithHoles(30)
	evicted(t, a, id, chunks...)
	a.SetNeeds(map[image.ID]Need{id: {Fills: 3, PinFrom: Unpinned, HasSource: true}})
	src := &source{a: a, id: id, chunks: chunks, reads: map[int]int{}}
	serving, stop := context.WithCancel(ctx)
	wait := src.serve(serving, t, 2)
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- readAll(ctx, a, id, chunks, nil) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	stop()
	wait()
	for i := range chunks {
		want := 1
		if i%5 == 3 {
			want = 0
		}
		if src.reads[i] != want {
			t.Errorf("chunk %d was read %d times, want %d", i, src.reads[i], want)
		}
	}
	if got := info(t, a, id).Offered; got != 24*frame.MaxSize {
		t.Errorf("%d bytes offered", got)
	}
}

// A slow reader finds all frames as long as space allows, and gets evicted ones again when it does not.
func TestSlowReader(t *testing.T) {
	const n = 24
	for name, tt := range map[string]struct {
		limit   int64
		rereads bool
	}{
		"space for all":    {limit: 64 * frame.MaxSize},
		"space for eight":  {limit: MinLimit, rereads: true},
		"space for twelve": {limit: 12 * frame.MaxSize, rereads: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, ctx, id := testArea(t, Options{Limit: tt.limit}), testContext(t), image.NewID()
			var chunks [][]byte
			w, err := a.Create(id)
			if err != nil {
				t.Fatal(err)
			}
			a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
			for i := range n {
				chunks = append(chunks, chunk(i))
				if err := w.Append(ctx, chunks[i]); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := w.Commit(ctx, n*manifest.ChunkSize); err != nil {
				t.Fatal(err)
			}
			a.collect()
			a.SetNeeds(map[image.ID]Need{id: {Fills: 2, PinFrom: Unpinned, HasSource: true}})
			src := &source{a: a, id: id, chunks: chunks, reads: map[int]int{}}
			serving, stop := context.WithCancel(ctx)
			wait := src.serve(serving, t, 2)
			// The slow reader takes one chunk, waits until the fast one has all, then goes on.
			first, fastDone := make(chan struct{}), make(chan error, 1)
			slowDone := make(chan error, 1)
			go func() {
				slowDone <- readAll(ctx, a, id, chunks, func(i int) {
					if i == 0 {
						close(first)
						<-fastDone
					}
				})
			}()
			<-first
			err = readAll(ctx, a, id, chunks, nil)
			close(fastDone)
			if err != nil {
				t.Error(err)
			}
			if err := <-slowDone; err != nil {
				t.Error(err)
			}
			stop()
			wait()
			total := 0
			for _, r := range src.reads {
				total += r
			}
			if !tt.rereads && total != n || tt.rereads && (total <= n || total > 2*n) {
				t.Errorf("the source was read %d times for %d chunks", total, n)
			}
			if used, limit := a.Usage(); used > limit {
				t.Errorf("%d bytes used of %d", used, limit)
			}
		})
	}
}

func TestDemandOrderAndLeases(t *testing.T) {
	clk := newClock()
	a, ctx, id := testArea(t, Options{Window: 3, Now: clk.now}), testContext(t), image.NewID()
	chunks := chunksWithHoles(12)
	evicted(t, a, id, chunks...)
	read := make(chan error, 2)
	for _, i := range []int{6, 1} {
		go func() {
			_, err := a.ReadChunk(ctx, id, i, make([]byte, manifest.ChunkSize))
			read <- err
		}()
	}
	until(t, "both readers wait", func() bool { return count(t, a.m.demanded) == 2 })
	expect := func(most int, want ...int) {
		t.Helper()
		got, err := a.Demand(ctx, id, most)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("Demand: %v, error %v, want %v", got, err, want)
		}
	}
	expect(1, 1)
	expect(4, 6, 2, 4, 5) // what is waited for first, then three ahead of each reader, zeroes (3 and 8) left out
	expect(9, 7, 9, 10)
	// All are leased: nobody else is asked for them.
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if got, err := a.Demand(short, id, 9); !fault.Is(err, fault.Timeout) {
		t.Fatalf("Demand: %v, error %v", got, err)
	}
	// A corrupt frame ends the lease at once, time ends the others.
	wantReason(t, a.PutFrame(ctx, id, 6, encoded(t, chunks[7])), fault.Corrupt, frame.ReasonCorrupt)
	expect(9, 6)
	clk.advance(a.o.Lease)
	expect(2, 1, 6)
	for _, i := range []int{1, 6} {
		if err := a.PutFrame(ctx, id, i, encoded(t, chunks[i])); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingIsFetchedAheadWithoutSpace(t *testing.T) {
	a, ctx, id := testArea(t, Options{Limit: MinLimit}), testContext(t), image.NewID()
	chunks := chunksWithHoles(8)
	evicted(t, a, id, chunks...)
	// Six pinned frames leave space for two.
	var pinned [][]byte
	for i := range 6 {
		pinned = append(pinned, chunk(100+i))
	}
	write(t, a, image.NewID(), pinned...)
	go func() { _, _ = a.ReadChunk(ctx, id, 0, make([]byte, manifest.ChunkSize)) }()
	until(t, "the reader waits", func() bool { return count(t, a.m.demanded) == 1 })
	got, err := a.Demand(ctx, id, 9)
	if err != nil || !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("Demand: %v, error %v", got, err)
	}
	if err := a.PutFrame(ctx, id, 0, encoded(t, chunks[0])); err != nil {
		t.Fatal(err)
	}
}

func TestPutRefusals(t *testing.T) {
	a, ctx, id, grows := testArea(t, Options{}), testContext(t), image.NewID(), image.NewID()
	chunks := [][]byte{chunk(0), zeroChunk, fillChunk(make([]byte, 100), 2)}
	evicted(t, a, id, chunks...)
	w, err := a.Create(grows)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	if err := w.Append(ctx, chunks[0]); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		id     image.ID
		index  int
		frame  []byte
		class  fault.Class
		reason string
	}{
		"unknown content": {image.NewID(), 0, encoded(t, chunks[0]), fault.NotFound, ReasonUnknown},
		"growing content": {grows, 0, encoded(t, chunks[0]), fault.Precondition, ReasonGrowing},
		"no such chunk":   {id, 3, encoded(t, chunks[0]), fault.NotFound, ReasonNoChunk},
		"negative":        {id, -1, encoded(t, chunks[0]), fault.NotFound, ReasonNoChunk},
		"zero chunk":      {id, 1, encoded(t, zeroChunk), fault.NotFound, ReasonNoChunk},
		"other bytes":     {id, 0, encoded(t, chunk(7)), fault.Corrupt, frame.ReasonCorrupt},
		"too long":        {id, 2, encoded(t, chunks[0]), fault.Corrupt, frame.ReasonCorrupt},
		"no frame":        {id, 0, []byte("hello, this is no frame"), fault.Corrupt, frame.ReasonCorrupt},
		"bytes follow":    {id, 0, append(encoded(t, chunks[0]), 0), fault.Corrupt, frame.ReasonCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, a.PutFrame(ctx, tt.id, tt.index, tt.frame), tt.class, tt.reason)
			if n := info(t, a, id).Frames; n != 0 {
				t.Fatalf("%d frames stored", n)
			}
		})
	}
	if got := count(t, a.m.corrupt); got != 4 {
		t.Errorf("%v corrupt PUTs counted, want 4", got)
	}
	if err := a.PutFrame(ctx, id, 2, encoded(t, chunks[2])); err != nil {
		t.Fatal(err)
	}
	if err := a.PutFrame(ctx, id, 2, encoded(t, chunks[2])); err != nil {
		t.Fatalf("second PUT of a frame: %v", err)
	}
}

func TestPutOfCompressedFrame(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	c := bytes.Repeat([]byte("atoll "), manifest.ChunkSize/6)
	evicted(t, a, id, c)
	b, err := frame.Encode(nil, c, frame.Zstd)
	if err != nil || len(b) > len(c)/10 {
		t.Fatalf("%d bytes, error %v", len(b), err)
	}
	if err := a.PutFrame(ctx, id, 0, b); err != nil {
		t.Fatal(err)
	}
	got, err := a.ReadChunk(ctx, id, 0, make([]byte, manifest.ChunkSize))
	if err != nil || !bytes.Equal(got, c) {
		t.Fatalf("%d bytes, error %v", len(got), err)
	}
	if used, _ := a.Usage(); used != int64(len(b)) {
		t.Fatalf("%d bytes used, the frame has %d", used, len(b))
	}
}

func TestConcurrentPutsOfOneFrame(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	evicted(t, a, id, chunk(0))
	b := encoded(t, chunk(0))
	errs := make(chan error, 4)
	for range 4 {
		go func() { errs <- a.PutFrame(ctx, id, 0, b) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if used, _ := a.Usage(); used != frame.MaxSize {
		t.Fatalf("%d bytes used for one frame", used)
	}
	if got := info(t, a, id).Offered; got != frame.MaxSize {
		t.Fatalf("%d bytes stored", got)
	}
}

func TestPutWaitsForSpace(t *testing.T) {
	a, ctx, id, pinned := testArea(t, Options{Limit: MinLimit}), testContext(t), image.NewID(), image.NewID()
	evicted(t, a, id, chunk(0))
	var chunks [][]byte
	for i := range MinLimit / frame.MaxSize {
		chunks = append(chunks, chunk(100+i))
	}
	write(t, a, pinned, chunks...)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	wantReason(t, a.PutFrame(short, id, 0, encoded(t, chunk(0))), fault.Exhausted, ReasonFull)
	done := make(chan error, 1)
	go func() { done <- a.PutFrame(ctx, id, 0, encoded(t, chunk(0))) }()
	until(t, "the PUT waits", func() bool { return count(t, a.m.waits) == 2 })
	a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned, Fills: 1}, pinned: {PinFrom: 1}})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWants(t *testing.T) {
	clk := newClock()
	a, ctx, id := testArea(t, Options{Now: clk.now}), testContext(t), image.NewID()
	evicted(t, a, id, chunk(0))
	changed := func(want bool, when string) {
		t.Helper()
		select {
		case <-a.WantsChanged():
			if !want {
				t.Fatalf("%s: change told", when)
			}
		default:
			if want {
				t.Fatalf("%s: change not told", when)
			}
		}
	}
	if got := a.Wants(); len(got) != 0 {
		t.Fatalf("wants %v", got)
	}
	changed(false, "in the beginning")
	read := make(chan error, 1)
	go func() {
		_, err := a.ReadChunk(ctx, id, 0, make([]byte, manifest.ChunkSize))
		read <- err
	}()
	<-a.WantsChanged()
	if got := a.Wants(); !slices.Equal(got, []image.ID{id}) {
		t.Fatalf("wants %v", got)
	}
	if err := a.PutFrame(ctx, id, 0, encoded(t, chunk(0))); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	clk.advance(a.o.Linger - 1)
	a.collect()
	if got := a.Wants(); len(got) != 1 {
		t.Fatal("the content is not wanted any more right after its last reader")
	}
	changed(false, "during the linger")
	clk.advance(1)
	a.collect()
	changed(true, "after the linger")
	if got := a.Wants(); len(got) != 0 {
		t.Fatalf("wants %v", got)
	}
}

func TestReaderThatGivesUpLeavesNothing(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	evicted(t, a, id, chunk(0))
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		_, _, err := a.OpenFrame(ctx, id, 0, false)
		cancel()
		if !fault.Is(err, fault.Timeout) {
			t.Fatalf("OpenFrame: %v", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.contents[id].demand.wanted); n != 0 {
		t.Fatalf("%d chunks still wanted", n)
	}
}
