package qcow2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// arriving is a source whose bytes come when a test lets them.
type arriving struct {
	mu   sync.Mutex
	cond sync.Cond
	data []byte // what has come
	end  error  // io.EOF when all has come, otherwise why nothing more will
	most int64  // end of the farthest read
}

func newArriving() *arriving {
	a := &arriving{}
	a.cond.L = &a.mu
	return a
}

// come lets bytes arrive.
func (a *arriving) come(p []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.data = append(a.data, p...)
	a.cond.Broadcast()
}

// stop says that nothing more will come; the first reason stays.
func (a *arriving) stop(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.end == nil {
		a.end = err
	}
	a.cond.Broadcast()
}

// Close ends blocked reads.
func (a *arriving) Close() error {
	a.stop(io.ErrClosedPipe)
	return nil
}

func (a *arriving) ReadAt(p []byte, off int64) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.most = max(a.most, off+int64(len(p)))
	for int64(len(a.data)) < off+int64(len(p)) && a.end == nil {
		a.cond.Wait()
	}
	if int64(len(a.data)) >= off+int64(len(p)) {
		return copy(p, a.data[off:]), nil
	}
	if !errors.Is(a.end, io.EOF) {
		return 0, a.end
	}
	return copy(p, a.data[min(off, int64(len(a.data))):]), io.EOF
}

// told is a sink that says where it is.
type told struct {
	disk
	at chan int
}

func (s *told) Write(p []byte) (int, error) {
	n, err := s.disk.Write(p)
	s.at <- s.Len()
	return n, err
}

func (s *told) Zero(n int64) error {
	err := s.disk.Zero(n)
	s.at <- s.Len()
	return err
}

// inOrder is an image of 64 KiB clusters as writers that go from the first byte to the last make it: windows of 4 MiB of plain data, of
// holes, and of compressed data. It returns how much of the data each window needs.
func inOrder() (image, disk []byte, needs []int) {
	made := inOrderOnce()
	return made.image, made.disk, made.needs
}

type ordered struct {
	image, disk []byte
	needs       []int
}

var inOrderOnce = sync.OnceValue(func() (o ordered) {
	const cluster = 64 << 10
	m := &made{version: 3, bits: 16, length: 104, size: 5*windowSize - 1000, l1Offset: cluster, l1: []uint64{2 * cluster}}
	var entries []uint64
	at := int64(3 * cluster)
	for w := range 5 {
		for c := range windowSize / cluster {
			p := text(cluster, uint64(w*1000+c))
			switch w {
			case 1, 2:
				clear(p)
				entries = append(entries, 0)
			case 3:
				z := deflated(p)
				m.put(at, z)
				entries = append(entries, packedAt(16, at, int64(len(z))))
				at += int64(len(z))
			default:
				at = (at + cluster - 1) / cluster * cluster
				m.put(at, p)
				entries = append(entries, uint64(at))
				at += cluster
			}
			o.disk = append(o.disk, p...)
		}
		o.needs = append(o.needs, int((at+sector-1)/sector*sector))
	}
	o.image, o.disk = m.table(2*cluster, entries...).bytes(), o.disk[:m.size]
	return o
})

// The sink has what has come of the disk before the rest of the source comes.
func TestWrittenWhileItArrives(t *testing.T) {
	t.Parallel()
	image, want, needs := inOrder()
	a, s := newArriving(), &told{at: make(chan int)}
	done := make(chan error, 1)
	go func() {
		img, err := Open(a, mostTest)
		if err == nil {
			err = img.WriteTo(t.Context(), s)
		}
		done <- err
	}()
	have := 0
	for w, end := range []int{windowSize, 0, 3 * windowSize, 4 * windowSize, len(want)} {
		for have < needs[w] {
			n := min(needs[w]-have, 999_999)
			a.come(image[have : have+n])
			have += n
		}
		if end == 0 {
			continue // the hole comes with what ends it
		}
		select {
		case got := <-s.at:
			if got != end {
				t.Fatalf("the disk has %d bytes, want %d", got, end)
			}
		case err := <-done:
			t.Fatalf("after %d of %d bytes: %v", have, len(image), err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	same(t, s.Bytes(), want)
}

// A source that ends early makes the image damaged; one that fails is what the conversion fails with.
func TestSourceEnds(t *testing.T) {
	t.Parallel()
	image, _, needs := inOrder()
	failure := fault.New(fault.Unavailable, "SOURCE_GONE", "the server does not answer")
	for _, cut := range []int{0, 50, 100, 64 << 10, 130 << 10, 200 << 10, needs[0] - 1, needs[3] - 20000, needs[4] - 1001} {
		for _, end := range []error{io.EOF, failure} {
			a := newArriving()
			a.come(image[:cut])
			a.stop(end)
			d, err := read(t.Context(), a, mostTest)
			want := convert.ReasonDamaged
			if !errors.Is(end, io.EOF) {
				want = "SOURCE_GONE"
			}
			if fault.ReasonOf(err) != want {
				t.Errorf("%d bytes, then %v: %v", cut, end, err)
			}
			if d != nil && d.Len() > 0 && cut < needs[0] {
				t.Errorf("%d bytes gave %d bytes of disk", cut, d.Len())
			}
		}
	}
}

// Whoever gives up, the conversion ends although its source has nothing for the reads that wait.
func TestEndsWhileReadsWait(t *testing.T) {
	t.Parallel()
	image, _, needs := inOrder()
	failure := errors.New("no room")
	full := fault.New(fault.Exhausted, "QUOTA", "the quota is used up")
	tests := map[string]func(t *testing.T, a *arriving) error{
		"cancelled": func(t *testing.T, a *arriving) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			s := &told{at: make(chan int, 9)}
			go func() {
				<-s.at
				cancel(failure)
			}()
			img, err := Open(a, mostTest)
			if err != nil {
				return err
			}
			return img.WriteTo(ctx, s)
		},
		"sink": func(t *testing.T, a *arriving) error {
			img, err := Open(a, mostTest)
			if err != nil {
				return err
			}
			return img.WriteTo(t.Context(), &disk{fail: failure})
		},
		"sink with zeroes": func(t *testing.T, a *arriving) error {
			a.come(image[needs[0] : needs[3]-1000])
			img, err := Open(a, mostTest)
			if err != nil {
				return err
			}
			err = img.WriteTo(t.Context(), &disk{fail: full, after: windowSize})
			if fault.ReasonOf(err) != "QUOTA" {
				t.Errorf("%v, want what the sink failed with", err)
			}
			return failure
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArriving()
			a.come(image[:needs[0]])
			if err := test(t, a); !errors.Is(err, failure) {
				t.Fatalf("%v, want %v", err, failure)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.end == nil {
				t.Error("the source was not closed")
			}
		})
	}
}

// careless is a sink that takes less than it is given.
type careless struct{ disk }

func (c *careless) Write(p []byte) (int, error) { return c.disk.Write(p[:len(p)-1]) }

// broken is a source that gives less than was asked for, and no reason.
type broken struct{ io.ReaderAt }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	n, _ := b.ReaderAt.ReadAt(p[:len(p)/2], off)
	return n, nil
}

// Sinks and sources that break the rules do not pass for good ones.
func TestBrokenSeams(t *testing.T) {
	t.Parallel()
	data := small(512, 1024).table(1024, 1536).put(1536, noise(512, 1)).bytes()
	img, err := Open(source(data), mostTest)
	if err != nil {
		t.Fatal(err)
	}
	if err := img.WriteTo(t.Context(), &careless{}); err == nil {
		t.Error("a sink that takes less passes")
	}
	if _, err := Open(broken{bytes.NewReader(data)}, mostTest); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v, want no progress", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := img.WriteTo(ctx, &disk{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want cancelled", err)
	}
}
