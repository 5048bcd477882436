package rbdtest

import (
	"slices"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func testCreate(e *env) {
	for _, size := range []int64{1, 511, 512, 4096, chunk - 1, chunk, chunk + 1, 3*chunk + 12345, 10 << 30} {
		img := e.create("sized", size)
		if img.Size() != size {
			e.Errorf("size is %d, want %d", img.Size(), size)
		}
		e.wantBytes(img, 0, make([]byte, min(size, 8192)))
		e.wantBytes(img, size-1, []byte{0})
		e.write(img, []byte{7}, size-1)
		e.ok("close", img.Close())
		img = e.open("sized")
		if img.Size() != size {
			e.Errorf("size after open is %d, want %d", img.Size(), size)
		}
		e.wantBytes(img, size-1, []byte{7})
		e.ok("close", img.Close())
		_, err := e.pool.Create(e.ctx, e.name("sized"), 1<<20)
		e.wantFault("second create", err, fault.Exists, "")
		if got := e.open("sized"); got.Size() != size {
			e.Errorf("size after a refused create is %d, want %d", got.Size(), size)
		} else {
			e.ok("close", got.Close())
		}
		e.ok("remove", e.pool.Remove(e.ctx, e.name("sized")))
	}
	for _, size := range []int64{0, -1} {
		_, err := e.pool.Create(e.ctx, e.name("bad"), size)
		e.wantFault("create without bytes", err, fault.Invalid, "")
	}
	_, err := e.pool.Create(e.ctx, "", chunk)
	e.wantFault("create without a name", err, fault.Invalid, "")
	e.wantNames()
}

func testOpen(e *env) {
	_, err := e.pool.Open(e.ctx, e.name("none"))
	e.wantFault("open of nothing", err, fault.NotFound, "")
	_, err = e.pool.OpenSnapshot(e.ctx, e.name("none"))
	e.wantFault("open the snapshot of nothing", err, fault.NotFound, "")

	img := e.create("image", 2*chunk)
	_, err = e.pool.OpenSnapshot(e.ctx, e.name("image"))
	e.wantFault("open a missing snapshot", err, fault.NotFound, "")
	e.write(img, pattern(1, 100), chunk-50)
	e.ok("close", img.Close())
	img = e.open("image")
	e.wantBytes(img, chunk-50, pattern(1, 100))
	e.write(img, pattern(2, 100), 0) // Open is for writing
	e.wantBytes(img, 0, pattern(2, 100))
}

func testReadWrite(e *env) {
	size := int64(3*chunk + 777)
	img := e.create("image", size)
	model := make([]byte, size)
	for i, w := range []struct {
		off int64
		n   int
	}{
		{0, chunk},
		{chunk, 2 << 20},
		{chunk + 2<<20, 2 << 20},
		{100, 1},
		{chunk - 1, 2},
		{2*chunk - 100, chunk + 200},
		{3 * chunk, 777},
		{size - 1, 1},
		{0, int(size)},
		{5, 0},
	} {
		p := pattern(byte(i+1), w.n)
		e.write(img, p, w.off)
		copy(model[w.off:], p)
	}
	e.ok("flush", img.Flush(e.ctx))
	e.wantBytes(img, 0, model)
	e.wantBytes(img, chunk-3, model[chunk-3:chunk+5])
	e.wantBytes(img, size, nil) // nothing at the very end is inside
	e.ok("close", img.Close())
	e.wantBytes(e.open("image"), 0, model)
}

func testBounds(e *env) {
	size := int64(chunk + 1000)
	img := e.create("image", size)
	e.write(img, pattern(1, 1000), chunk)
	for _, r := range []struct {
		off int64
		n   int
	}{{size, 1}, {size - 1, 2}, {size + chunk, 10}, {-1, 1}, {0, int(size) + 1}} {
		p := make([]byte, r.n)
		e.wantFault("read outside", img.ReadAt(e.ctx, p, r.off), fault.Invalid, "")
		e.wantFault("write outside", img.WriteAt(e.ctx, p, r.off), fault.Invalid, "")
		e.wantFault("zero outside", img.Zero(e.ctx, r.off, int64(r.n)), fault.Invalid, "")
	}
	e.wantFault("zero of a negative length", img.Zero(e.ctx, 0, -1), fault.Invalid, "")
	if img.Size() != size {
		e.Errorf("size is %d, want %d", img.Size(), size)
	}
	e.wantBytes(img, chunk, pattern(1, 1000)) // refused writes changed nothing
}

func testZero(e *env) {
	size := int64(2*chunk + 5000)
	img := e.create("image", size)
	fresh := pattern(9, int(size))
	e.write(img, fresh, 0)
	model := slices.Clone(fresh)
	for _, z := range []struct{ off, n int64 }{
		{10, 0}, {0, 1}, {4095, 2}, {100, 70000}, {chunk - 7, 14}, {size - 1, 1}, {2 * chunk, 5000}, {0, chunk}, {1, 2*chunk - 2}, {0, size},
	} {
		e.ok("zero", img.Zero(e.ctx, z.off, z.n))
		clear(model[z.off : z.off+z.n])
		e.wantBytes(img, 0, model)
		e.write(img, fresh[z.off:z.off+z.n], z.off) // and the range can be written again
		copy(model[z.off:], fresh[z.off:z.off+z.n])
	}
	e.wantBytes(img, 0, fresh)
}

func testResize(e *env) {
	img := e.create("image", chunk+10)
	e.write(img, pattern(1, chunk+10), 0)
	steps := []int64{2*chunk + 33, chunk / 2, 3 * chunk, 1, chunk}
	model := pattern(1, chunk+10)
	for _, size := range steps {
		e.ok("resize", img.Resize(e.ctx, size))
		if img.Size() != size {
			e.Fatalf("size is %d, want %d", img.Size(), size)
		}
		if int64(len(model)) > size {
			model = model[:size:size]
		}
		model = append(model, make([]byte, size-int64(len(model)))...)
		e.wantBytes(img, 0, model)
		e.write(img, []byte{5}, size-1)
		model[size-1] = 5
	}
	e.wantFault("resize to nothing", img.Resize(e.ctx, 0), fault.Invalid, "")
	e.ok("close", img.Close())
	img = e.open("image")
	if img.Size() != chunk {
		e.Errorf("size after open is %d, want %d", img.Size(), chunk)
	}
	e.wantBytes(img, 0, model)
}

// testConcurrentWrites writes pieces of an image from many goroutines and reads others at the same time.
func testConcurrentWrites(e *env) {
	const writers, piece = 24, 1 << 20
	img := e.create("image", writers*piece)
	errs := make(chan error, 3*writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { errs <- img.WriteAt(e.ctx, pattern(byte(i), piece), int64(i)*piece) })
		wg.Go(func() { errs <- img.ReadAt(e.ctx, make([]byte, 4096), int64(writers-1-i)*piece) })
		wg.Go(func() { errs <- img.SetMeta(e.ctx, "writer", "busy") })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		e.ok("concurrent call", err)
	}
	e.ok("flush", img.Flush(e.ctx))
	for i := range writers {
		e.wantBytes(img, int64(i)*piece, pattern(byte(i), piece))
	}
}
