package rbdtest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/filerbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
)

func newFaulty(t *testing.T) (*rbdtest.Faulty, rbd.Image) {
	t.Helper()
	pool, err := filerbd.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := rbdtest.NewFaulty(pool)
	img, err := f.Create(t.Context(), "image", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return f, img
}

func TestFaultyFailsInOrder(t *testing.T) {
	f, img := newFaulty(t)
	one, two := errors.New("one"), errors.New("two")
	f.Fail(rbdtest.OpFlush, 2, one)
	f.Pass(rbdtest.OpFlush, 1)
	f.Fail(rbdtest.OpFlush, 1, two)
	for i, want := range []error{one, one, nil, two, nil} {
		if got := img.Flush(t.Context()); !errors.Is(got, want) {
			t.Errorf("flush %d returned %v, want %v", i, got, want)
		}
	}
	if f.Calls(rbdtest.OpFlush) != 5 || f.Queued() != 0 {
		t.Errorf("%d calls, %d faults left", f.Calls(rbdtest.OpFlush), f.Queued())
	}
}

func TestFaultyFailAfterTakesEffect(t *testing.T) {
	f, img := newFaulty(t)
	lost := errors.New("answer lost")
	f.FailAfter(rbdtest.OpCreateSnapshot, 1, lost)
	if err := img.CreateSnapshot(t.Context()); !errors.Is(err, lost) {
		t.Fatalf("got %v", err)
	}
	if exists, _, err := img.SnapshotState(t.Context()); err != nil || !exists {
		t.Errorf("snapshot exists %v (%v)", exists, err)
	}
	f.FailAfter(rbdtest.OpCreate, 1, lost)
	if _, err := f.Create(t.Context(), "other", 1); !errors.Is(err, lost) {
		t.Fatalf("got %v", err)
	}
	if err := f.Remove(t.Context(), "other"); err != nil { // exists, and no handle is left open
		t.Error(err)
	}
}

func TestFaultyDamagesWrites(t *testing.T) {
	f, img := newFaulty(t)
	data := bytes.Repeat([]byte{1}, 100)
	write := func(off int64) []byte {
		t.Helper()
		if err := img.WriteAt(t.Context(), data, off); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(data))
		if err := img.ReadAt(t.Context(), got, off); err != nil {
			t.Fatal(err)
		}
		return got
	}
	f.CorruptWrites(1)
	f.DropWrites(1)
	if got := write(0); bytes.Equal(got, data) || !bytes.Equal(got[:50], data[:50]) || !bytes.Equal(got[51:], data[51:]) {
		t.Errorf("the corrupt write left %x", got)
	}
	if got := write(1000); !bytes.Equal(got, make([]byte, 100)) {
		t.Errorf("the dropped write left %x", got)
	}
	if got := write(2000); !bytes.Equal(got, data) {
		t.Errorf("the third write left %x", got)
	}
	if !bytes.Equal(data, bytes.Repeat([]byte{1}, 100)) {
		t.Error("the caller's bytes were changed")
	}
}

func TestFaultyBlocks(t *testing.T) {
	f, img := newFaulty(t)
	gate := f.Block(rbdtest.OpWriteAt)
	done := make(chan error)
	go func() { done <- img.WriteAt(context.Background(), []byte{1}, 0) }()
	<-gate.Entered()
	select {
	case err := <-done:
		t.Fatalf("the blocked write returned %v", err)
	default:
	}
	gate.Release()
	gate.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	gate = f.Block(rbdtest.OpList)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, err := f.List(ctx); done <- err }()
	<-gate.Entered()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFaultyHook(t *testing.T) {
	f, _ := newFaulty(t)
	var seen []string
	f.Before(rbdtest.OpOpenSnapshot, func(name string) { seen = append(seen, name) })
	_, _ = f.OpenSnapshot(t.Context(), "image")
	f.Before(rbdtest.OpOpenSnapshot, nil)
	_, _ = f.OpenSnapshot(t.Context(), "image")
	if len(seen) != 1 || seen[0] != "image" {
		t.Errorf("hook saw %q", seen)
	}
}
