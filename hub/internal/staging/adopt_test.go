package staging

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// describe returns the manifest of chunks.
func describe(chunks ...[]byte) *manifest.Manifest {
	m := &manifest.Manifest{}
	for _, c := range chunks {
		m.Length += int64(len(c))
		m.Chunks = append(m.Chunks, frame.ChunkDigest(c))
	}
	return m
}

// A content of a manifest alone is complete, survives a restart, and takes its frames from a site that offers them.
func TestAdopt(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	chunks := [][]byte{chunk(0), zeroChunk, chunk(2)}
	m := describe(chunks...)
	if a.Has(id) {
		t.Error("known before")
	}
	if err := a.Adopt(ctx, id, m); err != nil {
		t.Fatal(err)
	}
	if err := a.Adopt(ctx, id, describe(chunks...)); err != nil {
		t.Errorf("the same again: %v", err)
	}
	a = reopen(t, a)
	if !a.Has(id) {
		t.Fatal("lost by a restart")
	}
	got, root, err := a.Manifest(id)
	if err != nil || root != m.Root(frame.Sum) || got.Length != m.Length {
		t.Fatalf("manifest %v, %v", got, err)
	}
	read := make(chan error, 1)
	go func() { read <- readAll(ctx, a, id, chunks, nil) }()
	for range 2 {
		indexes, err := a.Demand(ctx, id, 1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := frame.Encode(nil, chunks[indexes[0]], frame.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.PutFrame(ctx, id, indexes[0], b); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestAdoptReplacesAnEarlierReading(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	for _, m := range []*manifest.Manifest{describe(chunk(1)), describe(chunk(2), chunk(3))} {
		if err := a.Adopt(ctx, id, m); err != nil {
			t.Fatal(err)
		}
		if _, root, err := a.Manifest(id); err != nil || root != m.Root(frame.Sum) {
			t.Errorf("root %v, %v", root, err)
		}
	}
	// One that the disk has damaged is as good as none.
	if err := os.WriteFile(filepath.Join(a.o.Dir, contentsDir, string(id), manifestFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	if err := a.Adopt(ctx, id, describe(chunk(4))); err != nil {
		t.Error(err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	wantReason(t, a.Adopt(ctx, id, &manifest.Manifest{Length: 5}), fault.Corrupt, "BAD_MANIFEST")
	w, err := a.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort("test")
	wantReason(t, a.Adopt(ctx, id, describe(chunk(1))), fault.Exists, "CONTENT_EXISTS")
}

// A manifest that did not reach the disk is not there.
func TestAdoptOnABadDisk(t *testing.T) {
	a, ctx, id := testArea(t, Options{}), testContext(t), image.NewID()
	a.disk = unsynced{}
	wantReason(t, a.Adopt(ctx, id, describe(chunk(1))), fault.Unavailable, ReasonDisk)
	if a.Has(id) || len(a.Contents()) > 0 {
		t.Error("it is there all the same")
	}
	a.disk = osDisk{}
	if err := a.Adopt(ctx, id, describe(chunk(1))); err != nil {
		t.Error(err)
	}
}

// unsynced is a disk on which nothing becomes durable.
type unsynced struct{ osDisk }

func (unsynced) Sync(string) error { return errors.New("bad disk") }

// A content that somebody asks for and that is not here is wanted from sites, for a while or until its manifest has come.
func TestMissedContentsAreWanted(t *testing.T) {
	clock := newClock()
	a, ctx, id := testArea(t, Options{Now: clock.now}), testContext(t), image.NewID()
	_, _, err := a.Follow(ctx, id, 0)
	wantReason(t, err, fault.NotFound, ReasonUnknown)
	<-a.WantsChanged()
	if got := a.Wants(); len(got) != 1 || got[0] != id {
		t.Fatalf("wanted %v", got)
	}
	clock.advance(a.o.Linger)
	a.collect()
	<-a.WantsChanged()
	if got := a.Wants(); len(got) > 0 {
		t.Errorf("still wanted: %v", got)
	}
	_, _, _ = a.Follow(ctx, id, 0)
	<-a.WantsChanged()
	if err := a.Adopt(ctx, id, describe(chunk(1))); err != nil {
		t.Fatal(err)
	}
	<-a.WantsChanged()
	if got := a.Wants(); len(got) > 0 {
		t.Errorf("wanted although it is there: %v", got)
	}
	for range 2 * mostMissed {
		_, _, _ = a.Follow(ctx, image.NewID(), 0)
	}
	if got := a.Wants(); len(got) != mostMissed {
		t.Errorf("%d contents remembered", len(got))
	}
}
