package staging

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

func claim(t *testing.T, dir string, term int64) *Area {
	t.Helper()
	path, err := Claim(dir, term)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(Options{Dir: path, Limit: MinLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// files returns all that is below a directory, without locks.
func files(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); filepath.Base(path) != "lock" {
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// An earlier leader that still runs, as one does that was paused, changes nothing any more, and its lock is in nobody's way.
func TestClaimFencesTheEarlierLeader(t *testing.T) {
	dir := t.TempDir()
	old := claim(t, dir, 7)
	staged, begun := image.NewID(), image.NewID()
	w, err := old.Create(staged)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(t.Context(), []byte("staged")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Commit(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	w, err = old.Create(begun)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(t.Context(), make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}

	a := claim(t, dir, 12)
	if !a.Has(staged) || a.Has(begun) {
		t.Fatal("the new leader does not have what was complete, or has what was not")
	}
	before := files(t, dir)
	if err := w.Append(t.Context(), []byte("more")); fault.ReasonOf(err) != ReasonDisk {
		t.Errorf("append: got %v", err)
	}
	w.Abort("it failed")
	if _, err := old.Create(image.NewID()); fault.ReasonOf(err) != ReasonDisk {
		t.Errorf("create: got %v", err)
	}
	old.Forget(staged)
	if after := files(t, dir); len(after) != len(before) {
		t.Errorf("the earlier leader has changed %v to %v", before, after)
	}
	if got := firstBytes(t, a, staged); got != "staged" {
		t.Errorf("the new leader reads %q", got)
	}
	if _, err := Claim(dir, 7); !fault.Is(err, fault.Conflict) || fault.ReasonOf(err) != "NOT_LEADER" {
		t.Errorf("the earlier leader claims the area again: %v", err)
	}
}

// firstBytes returns the first chunk of a content.
func firstBytes(t *testing.T, a *Area, id image.ID) string {
	t.Helper()
	r := a.LocalReader(t.Context(), id)
	defer func() { _ = r.Close() }()
	b := make([]byte, 100)
	n, _ := r.ReadAt(b, 0) // io.EOF: the content is short
	return string(b[:n])
}

func TestClaimTakesWhatASingleHubHasLeft(t *testing.T) {
	dir := t.TempDir()
	single, err := Open(Options{Dir: dir, Limit: MinLimit})
	if err != nil {
		t.Fatal(err)
	}
	id := image.NewID()
	w, err := single.Create(id)
	if err == nil {
		err = w.Append(t.Context(), []byte("x"))
	}
	if err == nil {
		_, _, err = w.Commit(t.Context(), 1)
	}
	if err = errors.Join(err, single.Close()); err != nil {
		t.Fatal(err)
	}
	if !claim(t, dir, 3).Has(id) {
		t.Error("it is lost")
	}
}

// Of hubs that claim at the same time the one that was elected last has the area.
func TestClaimRace(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		claim(t, dir, 1)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() { _, errs[i] = Claim(dir, int64(i+2)) })
		}
		wg.Wait()
		terms, err := areas(dir)
		if err != nil || len(terms) != 1 || terms[0] != int64(len(errs)+1) {
			t.Fatalf("areas %v, %v", terms, err)
		}
		if errs[len(errs)-1] != nil {
			t.Fatalf("the last one: %v", errs[len(errs)-1])
		}
		for _, err := range errs {
			if err != nil && fault.ReasonOf(err) != "NOT_LEADER" {
				t.Fatal(err)
			}
		}
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	if err := Discard(dir); err != nil {
		t.Fatalf("nothing: %v", err)
	}
	a, err := Open(Options{Dir: dir, Limit: MinLimit})
	if err != nil {
		t.Fatal(err)
	}
	if err := Discard(dir); fault.ReasonOf(err) != "STAGING_IN_USE" {
		t.Errorf("an area that is open: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Discard(dir); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
