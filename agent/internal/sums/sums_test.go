package sums

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

var testKey = journal.Key{Store: "dcn0", Image: image.ID("2bd882e7-1da0-4078-97fe-f1bb81f61b00")}

// list returns one of a manifest with these sums, and its root digest.
func list(sums ...uint64) (*List, manifest.Digest) {
	l := &List{Manifest: &manifest.Manifest{Length: int64(len(sums))*manifest.ChunkSize - 5}, Sums: sums}
	for i := range sums {
		l.Manifest.Chunks = append(l.Manifest.Chunks, manifest.Digest{byte(i), 1})
	}
	return l, l.Manifest.Root(frame.Sum)
}

func TestList(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	want, root := list(1, 0, 1<<63)
	if d.Load(testKey, root) != nil {
		t.Error("a list came from nowhere")
	}
	for range 2 {
		if err := d.Store(testKey, root, want); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Load(testKey, root); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d.Load(testKey, manifest.Digest{1, 3}) != nil {
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
	l, root := list(7, 8)
	if err := d.Store(testKey, root, l); err != nil {
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
		if got := d.Load(testKey, root); got != nil {
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
	// Right by its own digest, but not the manifest it says that it is.
	for _, wrong := range []func(m *manifest.Manifest){
		func(m *manifest.Manifest) { m.Chunks[1][3]++ },
		func(m *manifest.Manifest) { m.Length-- },
		func(m *manifest.Manifest) { m.Length = -1 },
	} {
		l, _ := list(7, 8)
		wrong(l.Manifest)
		if err := d.Store(testKey, root, l); err != nil {
			t.Fatal(err)
		}
		if got := d.Load(testKey, root); got != nil {
			t.Errorf("a list of another manifest was taken: %v", got)
		}
	}
}
