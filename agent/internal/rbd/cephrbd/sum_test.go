//go:build cgo && ceph_preview

package cephrbd_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// published makes an image of n chunks of random bytes, one chunk of zeroes behind them, and its snapshot.
func published(tb testing.TB, pool rbd.Pool, name string, n int) (content []byte, prefix func(c cluster) string) {
	tb.Helper()
	ctx := tb.Context()
	content = make([]byte, (n+1)*manifest.ChunkSize)
	_, _ = rand.Read(content[:n*manifest.ChunkSize])
	img, err := pool.Create(ctx, name, int64(len(content)))
	if err != nil {
		tb.Fatal(err)
	}
	defer closing(tb, img)
	if err := img.WriteAt(ctx, content[:n*manifest.ChunkSize], 0); err != nil {
		tb.Fatal(err)
	}
	if err := img.CreateSnapshot(ctx); err != nil {
		tb.Fatal(err)
	}
	return content, func(c cluster) string {
		for line := range strings.Lines(c.command(tb, "rbd", "info", c.pool+"/"+name)) {
			if p, ok := strings.CutPrefix(strings.TrimSpace(line), "block_name_prefix: "); ok {
				return p
			}
		}
		tb.Fatal("no prefix")
		return ""
	}
}

// TestSumsSeeObjects changes objects behind librbd's back: the sum of each that is no longer what it was is another one.
func TestSumsSeeObjects(t *testing.T) {
	c := testCluster(t)
	pool := c.open(t, c.config())
	name := fmt.Sprintf("sums-%d", time.Now().UnixNano())
	content, prefix := published(t, pool, name, 6)
	defer func() { _ = pool.Remove(t.Context(), name) }()
	p := prefix(c)
	object := func(i int) string { return fmt.Sprintf("%s.%016x", p, i) }
	rados := func(args ...string) { c.command(t, "rados", append([]string{"-p", c.pool}, args...)...) }
	file := filepath.Join(t.TempDir(), "bytes")
	store := func(i int, b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		rados("put", object(i), file)
	}
	part := func(i int) []byte { return content[i*manifest.ChunkSize : (i+1)*manifest.ChunkSize] }
	flipped := append([]byte(nil), part(0)...)
	flipped[12345] ^= 1
	store(0, flipped)
	store(1, part(2))
	store(2, part(1))
	store(3, part(3)[:manifest.ChunkSize-1])
	rados("rm", object(4))
	store(6, []byte("extra"))
	snap, err := pool.OpenSnapshot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, snap)
	for i := range 7 {
		sum, held, err := snap.Sum(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		switch same := sum == xxhash.Sum64(part(i)); {
		case i == 5 && (!held || !same):
			t.Errorf("chunk 5 is as it was, but its sum is %x", sum)
		case i == 4 && held: // rados rm knows nothing of the snapshot, so it keeps no clone of the object
			t.Error("chunk 4 was removed but is held")
		case i == 6 && !held:
			t.Error("chunk 6 is held but not reported")
		case i < 4 && (!held || same):
			t.Errorf("chunk %d was changed, held %v, sum the same %v", i, held, same)
		}
	}
}

// TestSumsInDataPool sums up an image whose data is in a pool of its own, which makes the names of its objects longer.
func TestSumsInDataPool(t *testing.T) {
	c := testCluster(t)
	c.user = "admin"
	data := fmt.Sprintf("data-%d", time.Now().UnixNano())
	c.command(t, "ceph", "osd", "pool", "create", data, "8", "8", "replicated")
	t.Cleanup(func() { c.command(t, "ceph", "osd", "pool", "rm", data, data, "--yes-i-really-really-mean-it") })
	c.command(t, "rbd", "pool", "init", data)
	spec := c.pool + "/" + data
	c.command(t, "rbd", "create", spec, "--size", "8M", "--object-size", "4M", "--data-pool", data)
	t.Cleanup(func() { c.command(t, "rbd", "snap", "purge", spec); c.command(t, "rbd", "rm", "--no-progress", spec) })
	pool := c.open(t, c.config())
	img, err := pool.Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, img)
	content := make([]byte, manifest.ChunkSize)
	_, _ = rand.Read(content)
	if err := img.WriteAt(t.Context(), content, 0); err != nil {
		t.Fatal(err)
	}
	if err := img.CreateSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	snap, err := pool.OpenSnapshot(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, snap)
	if sum, held, err := snap.Sum(t.Context(), 0); err != nil || !held || sum != xxhash.Sum64(content) {
		t.Errorf("chunk 0: held %v, sum %x, %v", held, sum, err)
	}
	if _, held, err := snap.Sum(t.Context(), 1); err != nil || held {
		t.Errorf("chunk 1 was never written: held %v, %v", held, err)
	}
}

// TestNoSums asks for the sums of images whose chunks are no objects.
func TestNoSums(t *testing.T) {
	c := testCluster(t)
	config := c.config()
	config.ObjectOrder = 20
	pool := c.open(t, config)
	name := fmt.Sprintf("nosums-%d", time.Now().UnixNano())
	published(t, pool, name, 1)
	defer func() { _ = pool.Remove(t.Context(), name) }()
	snap, err := pool.OpenSnapshot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, snap)
	if _, _, err := snap.Sum(t.Context(), 0); !rbd.IsNoSums(err) {
		t.Errorf("sum of an image with objects of 1 MiB: %v", err)
	}
}

// BenchmarkVerify compares 1 GiB of random bytes by sums and by reading and hashing. It is run by hand, as BenchmarkWriteAt is.
func BenchmarkVerify(b *testing.B) {
	const chunks = 256
	c := testCluster(b)
	config := c.config()
	config.OSDTimeout = 60 * time.Second
	pool, err := cephrbd.Open(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer closing(b, pool)
	name := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	published(b, pool, name, chunks)
	defer func() { _ = pool.Remove(b.Context(), name) }()
	snap, err := pool.OpenSnapshot(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	defer closing(b, snap)
	buf := make([]byte, manifest.ChunkSize)
	for _, way := range []struct {
		name string
		look func(i int) error
	}{
		{"sums", func(i int) error { _, _, err := snap.Sum(b.Context(), i); return err }},
		{"read", func(i int) error {
			for off := 0; off < len(buf); off += 2 << 20 {
				if err := snap.ReadAt(b.Context(), buf[off:off+2<<20], int64(i)*manifest.ChunkSize+int64(off)); err != nil {
					return err
				}
			}
			frame.ChunkDigest(buf)
			return nil
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(chunks * manifest.ChunkSize)
			before := cpuTime()
			for range b.N {
				for i := range chunks {
					if err := way.look(i); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric((cpuTime()-before).Seconds()/float64(b.N), "client-cpu-s/op")
		})
	}
}
