package staging

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

func TestRunCollectsAtOnceWhenNeedsChange(t *testing.T) {
	a, id := testArea(t, Options{}), image.NewID()
	write(t, a, id, chunk(0), chunk(1))
	ctx, stop := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
	until(t, "the frames are gone", func() bool { used, _ := a.Usage(); return used == 0 })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// Imports, sites, offers and removals at the same time in an area that is far too small: all get done.
func TestStorm(t *testing.T) {
	const images, length = 3, 12
	registry := prometheus.NewRegistry()
	a, ctx := testArea(t, Options{Limit: MinLimit, Registry: registry}), testContext(t)
	running, stop := context.WithCancel(ctx)
	var background, work sync.WaitGroup
	background.Go(func() { _ = a.Run(running) })
	background.Go(func() {
		for running.Err() == nil {
			_, _ = registry.Gather()
			_, _ = a.Contents(), a.Wants()
		}
	})
	background.Go(func() { // imports that fail or are deleted at once
		for n := 0; running.Err() == nil; n++ {
			id := image.NewID()
			w, err := a.Create(id)
			if err != nil {
				t.Errorf("Create: %v", err)
				return
			}
			if w.Append(running, chunk(1000+n)) != nil || n%2 == 0 {
				w.Abort("test")
			} else if _, _, err := w.Commit(ctx, manifest.ChunkSize); err != nil {
				t.Errorf("Commit: %v", err)
			}
			a.Forget(id)
		}
	})

	var mu sync.Mutex
	needs := map[image.ID]Need{}
	tell := func(id image.ID, n Need) {
		mu.Lock()
		defer mu.Unlock()
		needs[id] = n
		a.SetNeeds(needs)
	}
	for k := range images {
		id := image.NewID()
		chunks := make([][]byte, length)
		for i := range chunks {
			chunks[i] = chunk(k*length + i)
		}
		w, err := a.Create(id)
		if err != nil {
			t.Fatal(err)
		}
		src := &source{a: a, id: id, chunks: chunks, reads: map[int]int{}}
		committed := make(chan struct{})
		work.Go(func() { // the import
			defer close(committed)
			for _, c := range chunks {
				if err := w.Append(ctx, c); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
			if _, _, err := w.Commit(ctx, length*manifest.ChunkSize); err != nil {
				t.Errorf("Commit: %v", err)
			}
		})
		work.Go(func() { // the central store, which offers what it has once it has all
			if err := readAll(ctx, a, id, chunks, func(i int) { tell(id, Need{Fills: 2, PinFrom: i + 1}) }); err != nil {
				t.Errorf("central: %v", err)
			}
			tell(id, Need{Fills: 1, PinFrom: Unpinned, HasSource: true})
			<-committed
			background.Go(func() { src.serve(running, t, 1)() })
		})
		work.Go(func() { // an edge
			if err := readAll(ctx, a, id, chunks, nil); err != nil {
				t.Errorf("edge: %v", err)
			}
		})
	}
	work.Wait()
	stop()
	background.Wait()
	used, limit := a.Usage()
	files, err := filepath.Glob(filepath.Join(a.o.Dir, contentsDir, "*", framesDir, "*"))
	if err != nil || used > limit || used != int64(len(files))*frame.MaxSize {
		t.Errorf("%d bytes used in %d files, limit %d, error %v", used, len(files), limit, err)
	}
}
