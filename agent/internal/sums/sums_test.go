package sums

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

var testKey = journal.Key{Store: "dcn0", Image: image.ID("2bd882e7-1da0-4078-97fe-f1bb81f61b00")}

func TestList(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	root, want := manifest.Digest{1, 2}, []uint64{1, 0, 1 << 63}
	if d.Load(testKey, root, 3) != nil {
		t.Error("a list came from nowhere")
	}
	for range 2 {
		if err := d.Store(testKey, root, want); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Load(testKey, root, 3); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d.Load(testKey, manifest.Digest{1, 3}, 3) != nil || d.Load(testKey, root, 2) != nil || d.Load(testKey, root, 4) != nil {
		t.Error("the list of another manifest was taken")
	}
	if keys, err := d.Keys(); err != nil || len(keys) != 1 || keys[0] != testKey {
		t.Errorf("keys %v, %v", keys, err)
	}
	temp := d.file(testKey) + tempSuffix
	if err := os.WriteFile(temp, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenDir(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Remove(testKey); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// Whatever byte is damaged, and wherever the file ends, there is no list.
func TestDamagedListIsNone(t *testing.T) {
	d, err := OpenDir(filepath.Join(t.TempDir(), "sums"))
	if err != nil {
		t.Fatal(err)
	}
	root := manifest.Digest{9}
	if err := d.Store(testKey, root, []uint64{7, 8}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(d.file(testKey))
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(d.file(testKey), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := d.Load(testKey, root, 2); got != nil {
			t.Errorf("a damaged list was taken: %v", got)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		try(bad)
		try(good[:i])
	}
	try(append(slices.Clone(good), 0))
}
