package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

const (
	testImage   = image.ID("2bd882e7-1da0-4078-97fe-f1bb81f61b00")
	testContent = image.ID("11111111-1da0-4078-97fe-f1bb81f61b00")
)

var testKey = Key{Store: "dcn0", Image: testImage}

func digest(n int) (d manifest.Digest) {
	binary.BigEndian.PutUint64(d[:], uint64(n)+1)
	return d
}

func open(t interface {
	Helper()
	Fatalf(string, ...any)
}, d *Dir, content image.ID,
) *Journal {
	t.Helper()
	j, err := d.Open(testKey, content)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return j
}

func TestRemembersAcrossOpens(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, d, testContent)
	for _, i := range []int{0, 7, 70, manifest.MaxChunks - 1} {
		if err := j.Record(i, digest(i), uint64(i)+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Forget(7); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, d, testContent)
	defer func() { _ = j.Close() }()
	if j.Len() != 3 {
		t.Errorf("got %d chunks, want 3", j.Len())
	}
	if got, ok := j.Digest(70); !ok || got != digest(70) {
		t.Errorf("chunk 70: got %v %v", got, ok)
	}
	if sum, ok := j.Sum(70, digest(70)); !ok || sum != 71 {
		t.Errorf("chunk 70: sum %d %v", sum, ok)
	}
	if _, ok := j.Sum(70, digest(71)); ok {
		t.Error("chunk 70 has a sum of another digest")
	}
	if _, ok := j.Digest(7); ok {
		t.Error("chunk 7 was forgotten but is known")
	}
	if _, ok := j.Digest(1); ok {
		t.Error("chunk 1 was never written but is known")
	}
}

// oldFile makes a journal of the first version, which has no sums.
func oldFile(chunks ...int) []byte {
	b, seed := headerOf(oldMagic, testContent)
	for _, i := range chunks {
		start := len(b)
		d := digest(i)
		b = binary.BigEndian.AppendUint32(b, uint32(i))
		b = append(b, d[:]...)
		b = binary.BigEndian.AppendUint32(b, crc32.Update(seed, castagnoli, b[start:]))
	}
	return b
}

func TestReadsTheFirstVersion(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, testKey.file()), oldFile(3, 7, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		j := open(t, d, testContent)
		if got, ok := j.Digest(7); !ok || got != digest(7) || j.Len() != 3+round {
			t.Errorf("round %d: chunk 7 has %v %v, %d chunks", round, got, ok, j.Len())
		}
		if _, ok := j.Sum(7, digest(7)); ok {
			t.Errorf("round %d: a sum came from nowhere", round)
		}
		if err := j.Record(8, digest(8), 9); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOtherContentStartsEmpty(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, d, testContent)
	if err := j.Record(1, digest(1), uint64(1)+1); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	other := open(t, d, "22222222-1da0-4078-97fe-f1bb81f61b00")
	if other.Len() != 0 {
		t.Errorf("got %d chunks of another content", other.Len())
	}
	_ = other.Close()
	again := open(t, d, testContent)
	if again.Len() != 0 {
		t.Errorf("got %d chunks after another content took the journal", again.Len())
	}
	_ = again.Close()
}

func TestRefusesChunksOutOfRange(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, d, testContent)
	defer func() { _ = j.Close() }()
	for _, i := range []int{-1, manifest.MaxChunks} {
		if err := j.Record(i, digest(1), uint64(i)+1); err == nil {
			t.Errorf("chunk %d was accepted", i)
		}
	}
}

func TestKeysAndRemove(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = open(t, d, testContent).Close()
	for _, name := range []string{"stray", "no-at.journal", "Bad@x.journal", testKey.file() + tempSuffix} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if d, err = OpenDir(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, testKey.file()+tempSuffix)); !os.IsNotExist(err) {
		t.Errorf("temporary file stayed: %v", err)
	}
	keys, err := d.Keys()
	if err != nil || len(keys) != 1 || keys[0] != testKey {
		t.Fatalf("keys: %v %v", keys, err)
	}
	for range 2 {
		if err := d.Remove(testKey); err != nil {
			t.Fatal(err)
		}
	}
	if keys, err := d.Keys(); err != nil || len(keys) != 0 {
		t.Fatalf("keys after remove: %v %v", keys, err)
	}
}

func TestStaysSmallHoweverOftenChunksAreRewritten(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		j := open(t, d, testContent)
		for i := range 50 {
			if err := j.Forget(i); err != nil {
				t.Fatal(err)
			}
			if err := j.Record(i, digest(i+round), uint64(i)+1); err != nil {
				t.Fatal(err)
			}
		}
		_ = j.Close()
	}
	j := open(t, d, testContent)
	defer func() { _ = j.Close() }()
	if j.Len() != 50 {
		t.Errorf("got %d chunks, want 50", j.Len())
	}
	if fi, err := os.Stat(filepath.Join(path, testKey.file())); err != nil || fi.Size() > int64(headerSize+500*recordSize) {
		t.Errorf("file of 50 chunks has %d bytes, %v", fi.Size(), err)
	}
}

// However the file is cut or damaged, it yields only what was recorded, and all records outside the damage.
func TestDamageNeverInvents(t *testing.T) {
	root, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(root, strconv.Itoa(runs))
		d, err := OpenDir(path)
		if err != nil {
			rt.Fatal(err)
		}
		n := rapid.IntRange(1, 200).Draw(rt, "n")
		j := open(rt, d, testContent)
		for i := range n {
			if err := j.Record(i*3, digest(i), uint64(i*3)+1); err != nil {
				rt.Fatal(err)
			}
		}
		_ = j.Close()
		file := filepath.Join(path, testKey.file())
		raw, err := os.ReadFile(file)
		if err != nil {
			rt.Fatal(err)
		}
		var lost int
		if rapid.Bool().Draw(rt, "cut") {
			keep := rapid.IntRange(0, len(raw)).Draw(rt, "keep")
			lost = n - max(0, keep-headerSize)/recordSize
			raw = raw[:keep]
		} else {
			at := rapid.IntRange(headerSize, len(raw)-1).Draw(rt, "at")
			raw[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "flip"))
			lost = 1
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			rt.Fatal(err)
		}
		j = open(rt, d, testContent)
		if j.Len() != n-lost {
			rt.Errorf("got %d chunks of %d, lost should be %d", j.Len(), n, lost)
		}
		for i := range n {
			if got, ok := j.Digest(i * 3); ok && got != digest(i) {
				rt.Errorf("chunk %d has a digest that was never recorded", i*3)
			}
		}
		if err := j.Record(1, digest(9), uint64(1)+1); err != nil {
			rt.Fatal(err)
		}
		_ = j.Close()
		j = open(rt, d, testContent)
		if got, ok := j.Digest(1); !ok || got != digest(9) {
			rt.Error("a record appended after the damage was lost")
		}
		_ = j.Close()
	})
}

func FuzzDecode(f *testing.F) {
	head, seed := header(testContent)
	f.Add(head)
	f.Add(appendRecord(append([]byte(nil), head...), seed, 3, entry{digest(3), 4}))
	f.Add([]byte("atolljn1"))
	f.Add(oldFile(3, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := decode(bytes.NewReader(b), testContent)
		if err != nil {
			return
		}
		if out.live.n+out.bad > out.records || out.records*oldRecordSize+headerSize > len(b) {
			t.Errorf("%d chunks, %d bad of %d records in %d bytes", out.live.n, out.bad, out.records, len(b))
		}
	})
}
