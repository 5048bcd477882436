package replica

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
)

// mortal is a pool of a process that dies at call number at: that call and all later ones never return, as far as the
// process can tell. With late set the fatal call still takes effect.
type mortal struct {
	rbd.Pool
	at      int
	late    bool
	onDeath func()

	mu    sync.Mutex
	calls int
	dead  chan struct{} // closed at the fatal call
}

func newMortal(p rbd.Pool, at int, late bool, onDeath func()) *mortal {
	return &mortal{Pool: p, at: at, late: late, onDeath: onDeath, dead: make(chan struct{})}
}

func (m *mortal) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *mortal) do(ctx context.Context, call func() error) error {
	m.mu.Lock()
	m.calls++
	n := m.calls
	if n == m.at && !m.late {
		m.die()
	}
	m.mu.Unlock()
	if m.at > 0 && n == m.at && m.late {
		_ = call()
		m.mu.Lock()
		m.die()
		m.mu.Unlock()
	}
	if m.at > 0 && n >= m.at {
		<-ctx.Done()
		return ctx.Err()
	}
	return call()
}

func (m *mortal) die() {
	m.onDeath()
	close(m.dead)
}

func (m *mortal) List(ctx context.Context) (out []string, err error) {
	err = m.do(ctx, func() error { out, err = m.Pool.List(ctx); return err })
	return out, err
}

func (m *mortal) Rename(ctx context.Context, from, to string) error {
	return m.do(ctx, func() error { return m.Pool.Rename(ctx, from, to) })
}

func (m *mortal) Remove(ctx context.Context, name string) error {
	return m.do(ctx, func() error { return m.Pool.Remove(ctx, name) })
}

func (m *mortal) Children(ctx context.Context, name string) (n int, err error) {
	err = m.do(ctx, func() error { n, err = m.Pool.Children(ctx, name); return err })
	return n, err
}

func (m *mortal) Create(ctx context.Context, name string, size int64) (rbd.Image, error) {
	return m.image(ctx, func() (rbd.Image, error) { return m.Pool.Create(ctx, name, size) })
}

func (m *mortal) Open(ctx context.Context, name string) (rbd.Image, error) {
	return m.image(ctx, func() (rbd.Image, error) { return m.Pool.Open(ctx, name) })
}

// image opens an image; a dead process keeps none open.
func (m *mortal) image(ctx context.Context, open func() (rbd.Image, error)) (img rbd.Image, err error) {
	err = m.do(ctx, func() error { img, err = open(); return err })
	if err != nil {
		if img != nil {
			_ = img.Close()
		}
		return nil, err
	}
	return &mortalImage{Image: img, m: m}, nil
}

func (m *mortal) OpenSnapshot(ctx context.Context, name string) (snap rbd.Snapshot, err error) {
	err = m.do(ctx, func() error { snap, err = m.Pool.OpenSnapshot(ctx, name); return err })
	if err != nil {
		if snap != nil {
			_ = snap.Close()
		}
		return nil, err
	}
	return &mortalSnapshot{Snapshot: snap, m: m}, nil
}

type mortalImage struct {
	rbd.Image
	m *mortal
}

func (i *mortalImage) ReadAt(ctx context.Context, p []byte, off int64) error {
	return i.m.do(ctx, func() error { return i.Image.ReadAt(ctx, p, off) })
}

func (i *mortalImage) Extents(ctx context.Context, f func(off, length int64) error) error {
	return i.m.do(ctx, func() error { return i.Image.Extents(ctx, f) })
}

func (i *mortalImage) WriteAt(ctx context.Context, p []byte, off int64) error {
	return i.m.do(ctx, func() error { return i.Image.WriteAt(ctx, p, off) })
}

func (i *mortalImage) Zero(ctx context.Context, off, length int64) error {
	return i.m.do(ctx, func() error { return i.Image.Zero(ctx, off, length) })
}

func (i *mortalImage) Resize(ctx context.Context, size int64) error {
	return i.m.do(ctx, func() error { return i.Image.Resize(ctx, size) })
}

func (i *mortalImage) Flush(ctx context.Context) error {
	return i.m.do(ctx, func() error { return i.Image.Flush(ctx) })
}

func (i *mortalImage) Meta(ctx context.Context, key string) (v string, err error) {
	err = i.m.do(ctx, func() error { v, err = i.Image.Meta(ctx, key); return err })
	return v, err
}

func (i *mortalImage) Sum(ctx context.Context, n int) (sum uint64, held bool, err error) {
	err = i.m.do(ctx, func() error { sum, held, err = i.Image.Sum(ctx, n); return err })
	return sum, held, err
}

func (i *mortalImage) SetMeta(ctx context.Context, key, value string) error {
	return i.m.do(ctx, func() error { return i.Image.SetMeta(ctx, key, value) })
}

func (i *mortalImage) SnapshotState(ctx context.Context) (exists, protected bool, err error) {
	err = i.m.do(ctx, func() error { exists, protected, err = i.Image.SnapshotState(ctx); return err })
	return exists, protected, err
}

func (i *mortalImage) CreateSnapshot(ctx context.Context) error {
	return i.m.do(ctx, func() error { return i.Image.CreateSnapshot(ctx) })
}

func (i *mortalImage) RemoveSnapshot(ctx context.Context) error {
	return i.m.do(ctx, func() error { return i.Image.RemoveSnapshot(ctx) })
}

func (i *mortalImage) ProtectSnapshot(ctx context.Context) error {
	return i.m.do(ctx, func() error { return i.Image.ProtectSnapshot(ctx) })
}

type mortalSnapshot struct {
	rbd.Snapshot
	m *mortal
}

func (s *mortalSnapshot) ReadAt(ctx context.Context, p []byte, off int64) error {
	return s.m.do(ctx, func() error { return s.Snapshot.ReadAt(ctx, p, off) })
}

func (s *mortalSnapshot) Extents(ctx context.Context, f func(off, length int64) error) error {
	return s.m.do(ctx, func() error { return s.Snapshot.Extents(ctx, f) })
}

func (s *mortalSnapshot) Meta(ctx context.Context, key string) (v string, err error) {
	err = s.m.do(ctx, func() error { v, err = s.Snapshot.Meta(ctx, key); return err })
	return v, err
}

// saved is a directory as it was at some moment.
type saved map[string][]byte

func save(t *testing.T, dir string) saved {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	out := saved{}
	for _, e := range entries {
		if b, err := os.ReadFile(dir + "/" + e.Name()); err == nil {
			out[e.Name()] = b
		}
	}
	return out
}

func (s saved) restore(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range s {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
