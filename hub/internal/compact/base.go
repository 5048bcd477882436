package compact

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/delta"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// maxBases is how many indexes are kept, of 128 MiB at most each, and how many wait to be made.
const maxBases = 2

// again is how long a base is done without that could not be read.
const again = time.Minute

// base is a content that others are compared with. Store.mu guards used and failed; the rest is set before ready is closed.
type base struct {
	used   int64
	ready  chan struct{}
	failed time.Time // when its index could not be made; zero: it could
	index  *delta.Index
	reader Reader
	stop   context.CancelFunc

	mu       sync.Mutex // guards the encoders that nobody uses
	encoders []*delta.Encoder
	users    sync.WaitGroup
}

// await waits until chunks can be compared with a base, and reports whether they can. It does not wait for long, and not at
// all when too many other bases are wanted before.
func (s *Store) await(ctx context.Context, id image.ID) (bool, error) {
	b := s.want(id)
	if b == nil {
		return false, nil
	}
	patience := time.NewTimer(s.o.Patience)
	defer patience.Stop()
	select {
	case <-b.ready:
		return b.index != nil, nil
	case <-patience.C: // the index may be ready for a later chunk
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// want returns a base, whose index is being made unless it is there; nil when too many wait.
func (s *Store) want(id image.ID) *base {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	b := s.bases[id]
	if b != nil && !b.failed.IsZero() && s.o.Now().Sub(b.failed) > again {
		delete(s.bases, id)
		b = nil
	}
	if b == nil {
		b = &base{ready: make(chan struct{})}
		select {
		case s.build <- id:
			s.bases[id] = b
		default:
			return nil
		}
	}
	b.used = s.clock
	return b
}

// base returns a base that is ready; nil when there is none.
func (s *Store) base(id image.ID) *base {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bases[id]
	if b == nil || b.index == nil {
		return nil
	}
	b.users.Add(1)
	return b
}

// encode returns the delta of a chunk and gives the base back. When the data of the base does not come for patience the base
// cannot be used any more.
func (b *base) encode(chunk []byte, patience time.Duration) ([]byte, error) {
	defer b.users.Done()
	silent := time.AfterFunc(patience, b.stop)
	defer silent.Stop()
	b.mu.Lock()
	var e *delta.Encoder
	if n := len(b.encoders); n > 0 {
		e, b.encoders = b.encoders[n-1], b.encoders[:n-1]
	}
	b.mu.Unlock()
	if e == nil {
		e = delta.NewEncoder(b.index, b.reader)
	}
	out, err := e.Encode(nil, chunk)
	b.mu.Lock()
	b.encoders = append(b.encoders, e)
	b.mu.Unlock()
	return out, err
}

// Run makes indexes until ctx ends, then waits for those who use them.
func (s *Store) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			bases := s.bases
			s.bases = map[image.ID]*base{}
			s.mu.Unlock()
			for _, b := range bases {
				if b.stop != nil { // ends those who wait for data of the base
					b.stop()
				}
				b.close()
			}
			return nil
		case id := <-s.build:
			s.prepare(ctx, id)
		}
	}
}

// prepare makes the index of a base, and drops the one that was not used for longest when there are too many.
func (s *Store) prepare(ctx context.Context, id image.ID) {
	s.mu.Lock()
	b := s.bases[id]
	s.mu.Unlock()
	readCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	index, err := s.indexOf(ctx, id)
	s.mu.Lock()
	if err == nil {
		b.index, b.reader, b.stop = index, s.o.Contents.Open(readCtx, id), stop
	} else {
		stop()
		b.failed = s.o.Now()
		s.o.Log.Warn("base not indexed", "base", string(id), "error", err)
	}
	close(b.ready)
	var old *base
	if len(s.bases) > maxBases {
		old = s.oldestBase(id)
	}
	s.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// oldestBase takes the base out that was not used for longest and is not being made. Lock held.
func (s *Store) oldestBase(spare image.ID) *base {
	var oldest image.ID
	for id, b := range s.bases {
		if id != spare && (b.index != nil || !b.failed.IsZero()) && (oldest == "" || b.used < s.bases[oldest].used) {
			oldest = id
		}
	}
	b := s.bases[oldest]
	delete(s.bases, oldest)
	return b
}

// drop makes a base that cannot be read one to do without for a while.
func (s *Store) drop(id image.ID, b *base) {
	s.mu.Lock()
	was := s.bases[id] == b
	if was {
		s.bases[id] = &base{used: b.used, ready: b.ready, failed: s.o.Now()}
	}
	s.mu.Unlock()
	if was {
		b.close()
	}
}

// close waits for those who use the base and closes its reader.
func (b *base) close() {
	b.users.Wait()
	if b.reader != nil {
		b.stop()
		_ = b.reader.Close()
	}
}

var errNoSource = errors.New("no site sends the data of the base")

// indexOf reads a base from its first to its last chunk.
func (s *Store) indexOf(ctx context.Context, id image.ID) (*delta.Index, error) {
	m, _, err := s.o.Contents.Manifest(id)
	if err != nil {
		return nil, err
	}
	var data int64
	for _, d := range m.Chunks {
		if !d.IsZero() {
			data += manifest.ChunkSize
		}
	}
	x := delta.NewIndex(data)
	scratch := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	for i, d := range m.Chunks {
		if d.IsZero() {
			continue
		}
		limited, cancel := context.WithTimeoutCause(ctx, s.o.Patience, errNoSource)
		chunk, err := s.o.Contents.ReadChunk(limited, id, i, (*scratch)[:0:manifest.ChunkSize])
		cancel()
		if err != nil {
			return nil, err
		}
		x.Add(int64(i)*manifest.ChunkSize, chunk)
	}
	return x, nil
}
