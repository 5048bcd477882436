package importer

import (
	"encoding/hex"
	"hash"
	"sync"
	"sync/atomic"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// sums computes several digests of one stream, each in a goroutine of its own: MD5 and SHA-512 together take longer than
// everything else an import does.
type sums struct {
	hashes  []hash.Hash
	feeds   []chan *chunk
	workers sync.WaitGroup
	free    chan *chunk
	now     *chunk
	dropped atomic.Bool // nobody wants the digests any more
	closed  bool
}

// chunk is a buffer that several hashes read, or a run of zeroes.
type chunk struct {
	buf    *[]byte // from buffers; nil until it is used
	used   []byte
	zeroes int64 // instead of used
	left   atomic.Int32
}

// chunksAhead is how many chunks a slow hash may lag behind.
const chunksAhead = 4

// buffers holds buffers of one chunk.
var buffers = sync.Pool{New: func() any { b := make([]byte, manifest.ChunkSize); return &b }}

func startSums(hashes ...hash.Hash) *sums {
	ahead := chunksAhead
	if len(hashes) == 0 {
		ahead = 1
	}
	s := &sums{hashes: hashes, free: make(chan *chunk, ahead)}
	for range ahead {
		s.free <- &chunk{}
	}
	for _, h := range hashes {
		feed := make(chan *chunk, chunksAhead)
		s.feeds = append(s.feeds, feed)
		s.workers.Go(func() {
			for c := range feed {
				s.sum(h, c)
				s.release(c)
			}
		})
	}
	return s
}

// noData is what runs of zeroes are hashed from.
var noData [64 << 10]byte

func (s *sums) sum(h hash.Hash, c *chunk) {
	if s.dropped.Load() {
		return
	}
	_, _ = h.Write(c.used) // a hash never fails
	for left := c.zeroes; left > 0 && !s.dropped.Load(); left -= min(left, int64(len(noData))) {
		_, _ = h.Write(noData[:min(left, int64(len(noData)))])
	}
}

func (s *sums) release(c *chunk) {
	if c.left.Add(-1) == 0 && c.zeroes == 0 {
		s.free <- c
	}
}

// buffer returns the next buffer to read into; it waits for the slowest hash. The previous buffer is not touched by the
// caller any more.
func (s *sums) buffer() []byte {
	if s.now != nil {
		s.release(s.now)
	}
	s.now = <-s.free
	s.now.left.Store(1)
	if s.now.buf == nil {
		s.now.buf = buffers.Get().(*[]byte)
	}
	return *s.now.buf
}

// add hands the bytes read into the latest buffer to the hashes. The caller may go on reading them until buffer.
func (s *sums) add(p []byte) {
	s.now.used = p
	s.feed(s.now)
}

// addZeroes hands a run of zeroes to the hashes.
func (s *sums) addZeroes(n int64) { s.feed(&chunk{zeroes: n}) }

func (s *sums) feed(c *chunk) {
	if s.dropped.Load() {
		return
	}
	c.left.Add(int32(len(s.feeds)))
	for _, f := range s.feeds {
		f <- c
	}
}

// drop gives the digests up: finish returns none. What is being hashed ends soon.
func (s *sums) drop() { s.dropped.Store(true) }

// finish returns the digests in hex; none after drop.
func (s *sums) finish() []string {
	s.stop()
	out := make([]string, len(s.hashes))
	for i, h := range s.hashes {
		if !s.dropped.Load() {
			out[i] = hex.EncodeToString(h.Sum(nil))
		}
	}
	return out
}

// stop ends the goroutines and waits for them. The latest buffer is not used any more. It may be called again.
func (s *sums) stop() {
	if s.closed {
		return
	}
	s.closed = true
	for _, f := range s.feeds {
		close(f)
	}
	s.workers.Wait()
	if s.now != nil {
		s.release(s.now)
	}
	for range cap(s.free) {
		if c := <-s.free; c.buf != nil {
			buffers.Put(c.buf)
		}
	}
}
