package staging

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// An image bigger than the area flows through as the central store takes it.
func TestImageBiggerThanTheLimit(t *testing.T) {
	const n = 40
	a, ctx, id := testArea(t, Options{Limit: MinLimit}), testContext(t), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	central := make(chan error, 1)
	go func() {
		buf := make([]byte, manifest.ChunkSize)
		for i := range n {
			b, err := a.ReadChunk(ctx, id, i, buf)
			if err == nil && !bytes.Equal(b, chunk(i)) {
				err = errors.New("wrong bytes")
			}
			if err != nil {
				central <- err
				return
			}
			a.SetNeeds(map[image.ID]Need{id: {Fills: 1, PinFrom: i + 1}})
		}
		central <- nil
	}()
	for i := range n {
		if err := w.Append(ctx, chunk(i)); err != nil {
			t.Fatal(err)
		}
		if used, limit := a.Usage(); used > limit {
			t.Fatalf("%d bytes used of %d", used, limit)
		}
	}
	if err := <-central; err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Commit(ctx, n*manifest.ChunkSize); err != nil {
		t.Fatal(err)
	}
	if got := count(t, a.m.removed.WithLabelValues(causeSpace)); got < n-MinLimit/frame.MaxSize {
		t.Fatalf("%v frames evicted, want at least %d", got, n-MinLimit/frame.MaxSize)
	}
}

func TestPinnedFramesFillTheArea(t *testing.T) {
	for name, setup := range map[string]func(a *Area, id image.ID){
		"never named":         func(*Area, image.ID) {},
		"not named in a list": func(a *Area, _ image.ID) { a.SetNeeds(nil) },
		"pinned from start":   func(a *Area, id image.ID) { a.SetNeeds(map[image.ID]Need{id: {Fills: 1}}) },
		"named once, then not": func(a *Area, id image.ID) {
			a.SetNeeds(map[image.ID]Need{id: {Fills: 1}})
			a.SetNeeds(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, ctx, id := testArea(t, Options{Limit: MinLimit}), testContext(t), image.NewID()
			w, err := a.Create(id)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort("test")
			for i := range MinLimit / frame.MaxSize {
				if err := w.Append(ctx, chunk(i)); err != nil {
					t.Fatal(err)
				}
			}
			setup(a, id)
			a.collect()
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			wantReason(t, w.Append(short, chunk(99)), fault.Exhausted, ReasonFull)
			if n := info(t, a, id).Frames; n != MinLimit/frame.MaxSize {
				t.Fatalf("%d frames left", n)
			}
		})
	}
}

// What is evicted first: contents nobody needs, then what all fills have read, then what can come again.
func TestEvictionOrder(t *testing.T) {
	clk := newClock()
	a, ctx := testArea(t, Options{Limit: MinLimit, Retention: time.Hour, Now: clk.now}), testContext(t)
	ids := map[string]image.ID{}
	for i, name := range []string{"unread", "sourced", "read", "idle", "pinned"} {
		ids[name] = image.NewID()
		write(t, a, ids[name], chunk(i))
		clk.advance(time.Second) // the idle one is not the oldest
	}
	_, done, err := a.OpenFrame(ctx, ids["read"], 0, false)
	if err != nil {
		t.Fatal(err)
	}
	done(true)
	a.SetNeeds(map[image.ID]Need{
		ids["unread"]:  {Fills: 1, PinFrom: Unpinned},
		ids["sourced"]: {Fills: 1, PinFrom: Unpinned, HasSource: true},
		ids["read"]:    {Fills: 1, PinFrom: Unpinned},
		ids["idle"]:    {PinFrom: Unpinned},
		ids["pinned"]:  {Fills: 1},
	})
	clk.advance(time.Minute)
	w, err := a.Create(image.NewID())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	i := 10
	for range MinLimit/frame.MaxSize - len(ids) {
		if err := w.Append(ctx, chunk(i)); err != nil {
			t.Fatal(err)
		}
		i++
	}
	for _, next := range []string{"idle", "read", "sourced", "unread"} {
		if n := info(t, a, ids[next]).Frames; n != 1 {
			t.Fatalf("%s went too early", next)
		}
		if err := w.Append(ctx, chunk(i)); err != nil {
			t.Fatal(err)
		}
		i++
		if n := info(t, a, ids[next]).Frames; n != 0 {
			t.Fatalf("%s did not go", next)
		}
	}
	if n := info(t, a, ids["pinned"]).Frames; n != 1 {
		t.Fatal("a pinned frame went")
	}
}

func TestOpenFramesAreNotEvicted(t *testing.T) {
	a, ctx, id := testArea(t, Options{Limit: MinLimit}), testContext(t), image.NewID()
	const n = MinLimit / frame.MaxSize
	var chunks [][]byte
	for i := range n {
		chunks = append(chunks, chunk(i))
	}
	write(t, a, id, chunks...)
	a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
	var closers []func(bool)
	for i := range n {
		_, done, err := a.OpenFrame(ctx, id, i, false)
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, done)
	}
	w, err := a.Create(image.NewID())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	appended := make(chan error, 1)
	go func() { appended <- w.Append(ctx, chunk(100)) }()
	until(t, "the writer waits", func() bool { return count(t, a.m.waits) > 0 })
	closers[3](true)
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	for i, done := range closers {
		if i != 3 {
			done(false)
		}
	}
	if got := info(t, a, id).Frames; got != n-1 {
		t.Fatalf("%d frames left, want %d", got, n-1)
	}
}

func TestRetention(t *testing.T) {
	clk := newClock()
	a, id := testArea(t, Options{Retention: 10 * time.Minute, Now: clk.now}), image.NewID()
	write(t, a, id, chunk(0), chunk(1))
	check := func(want int, when string) {
		t.Helper()
		a.collect()
		if n := info(t, a, id).Frames; n != want {
			t.Fatalf("%s: %d frames, want %d", when, n, want)
		}
	}
	clk.advance(time.Hour)
	check(2, "before the first list")
	a.SetNeeds(map[image.ID]Need{id: {Fills: 2, PinFrom: Unpinned}})
	clk.advance(time.Hour)
	check(2, "while a fill runs")
	a.SetNeeds(nil)
	check(2, "right after the last fill")
	clk.advance(10*time.Minute - time.Second)
	_, done, err := a.OpenFrame(testContext(t), id, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	done(true)
	clk.advance(time.Second)
	check(1, "after the retention")
	clk.advance(10 * time.Minute)
	check(0, "after the retention of the frame used last")
	if _, _, err := a.Manifest(id); err != nil {
		t.Fatalf("the manifest went too: %v", err)
	}
	if used, _ := a.Usage(); used != 0 {
		t.Fatalf("%d bytes used", used)
	}
}

// faultyDisk fails as it is told, then works.
type faultyDisk struct {
	osDisk
	mu                   sync.Mutex
	writes, syncs, drops []error // errors of the next calls; nil lets a call through
}

func (d *faultyDisk) take(queue *[]error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(*queue) == 0 {
		return nil
	}
	err := (*queue)[0]
	*queue = (*queue)[1:]
	return err
}

func (d *faultyDisk) Write(path string, parts ...[]byte) error {
	if err := d.take(&d.writes); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return d.osDisk.Write(path, parts...)
}

func (d *faultyDisk) Sync(path string) error {
	if err := d.take(&d.syncs); err != nil {
		return err
	}
	return d.osDisk.Sync(path)
}

func (d *faultyDisk) Remove(path string) error {
	if err := d.take(&d.drops); err != nil {
		return err
	}
	return d.osDisk.Remove(path)
}

func TestFullDiskEvictsAndGoesOn(t *testing.T) {
	a, old := testArea(t, Options{Retention: time.Hour}), image.NewID()
	write(t, a, old, chunk(0), chunk(1), chunk(2))
	a.SetNeeds(map[image.ID]Need{old: {PinFrom: Unpinned}})
	a.disk = &faultyDisk{writes: []error{syscall.ENOSPC, nil, syscall.EDQUOT}}
	id := image.NewID()
	write(t, a, id, chunk(3), chunk(4))
	if n := info(t, a, old).Frames; n != 1 {
		t.Fatalf("%d old frames left, want 1: one went for each write that failed", n)
	}
	if used, _ := a.Usage(); used != 3*frame.MaxSize {
		t.Fatalf("%d bytes used", used)
	}
}

func TestFullDiskWithNothingToEvict(t *testing.T) {
	a, ctx := testArea(t, Options{}), testContext(t)
	a.disk = &faultyDisk{writes: []error{syscall.ENOSPC}}
	w, err := a.Create(image.NewID())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	wantReason(t, w.Append(short, chunk(0)), fault.Exhausted, ReasonFull)
	if used, _ := a.Usage(); used != 0 {
		t.Fatalf("%d bytes used", used)
	}
}

func TestDiskErrorsAreFaults(t *testing.T) {
	t.Run("write", func(t *testing.T) {
		a, ctx := testArea(t, Options{}), testContext(t)
		a.disk = &faultyDisk{writes: []error{syscall.EIO}}
		w, err := a.Create(image.NewID())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort("test")
		wantReason(t, w.Append(ctx, chunk(0)), fault.Unavailable, ReasonDisk)
		if used, _ := a.Usage(); used != 0 {
			t.Fatalf("%d bytes used", used)
		}
	})
	t.Run("sync", func(t *testing.T) {
		a, ctx := testArea(t, Options{}), testContext(t)
		a.disk = &faultyDisk{syncs: []error{syscall.EIO}}
		w, err := a.Create(image.NewID())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort("test")
		if err := w.Append(ctx, chunk(0)); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.Commit(ctx, manifest.ChunkSize)
		wantReason(t, err, fault.Unavailable, ReasonDisk)
	})
	t.Run("remove", func(t *testing.T) {
		a, id := testArea(t, Options{}), image.NewID()
		write(t, a, id, chunk(0), chunk(1))
		a.disk = &faultyDisk{drops: []error{syscall.EIO}}
		a.SetNeeds(nil)
		a.SetNeeds(map[image.ID]Need{id: {PinFrom: Unpinned}})
		a.collect()
		if n := info(t, a, id).Frames; n != 1 {
			t.Fatalf("%d frames left, want the one that could not be removed", n)
		}
		a.collect()
		if used, _ := a.Usage(); used != frame.MaxSize {
			t.Fatalf("%d bytes used", used)
		}
	})
}

// On a real disk that is full.
func TestRealFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=14m"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	a, ctx, id := testArea(t, Options{Dir: dir}), testContext(t), image.NewID()
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Append(ctx, chunk(i)); err != nil {
			t.Fatal(err)
		}
	}
	appended := make(chan error, 1)
	go func() { appended <- w.Append(ctx, chunk(3)) }()
	until(t, "the writer waits", func() bool { return count(t, a.m.waits) > 0 })
	if left, _ := filepath.Glob(filepath.Join(dir, contentsDir, string(id), framesDir, "*"+tempSuffix)); len(left) > 0 {
		t.Fatalf("half a file was left: %v", left)
	}
	a.SetNeeds(map[image.ID]Need{id: {Fills: 1, PinFrom: 1}})
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, contentsDir, string(id), framesDir, "0")); !os.IsNotExist(err) {
		t.Fatalf("frame 0 is still there: %v", err)
	}
	w.Abort("test")
}
