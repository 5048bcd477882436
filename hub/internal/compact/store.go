package compact

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Reader reads a content at any offset.
type Reader interface {
	io.ReaderAt
	io.Closer
}

// Contents is the staging area.
type Contents interface {
	// ReadChunk waits until a chunk is here and returns it in buf, whose capacity is manifest.ChunkSize.
	ReadChunk(ctx context.Context, content image.ID, index int, buf []byte) ([]byte, error)
	// Manifest returns the manifest of a complete content.
	Manifest(content image.ID) (*manifest.Manifest, manifest.Digest, error)
	// Open returns a reader of a complete content, whose reads end with ctx.
	Open(ctx context.Context, content image.ID) Reader
}

// Options configures a Store.
type Options struct {
	Dir      string // emptied at the start; used by one process at a time
	Limit    int64  // most bytes of frames
	Encoders int    // chunks encoded at the same time; default 2
	// Patience is how long a site waits for the index of its base, and the index for the next chunk of it, before chunks go out
	// without the base; default 20 s. Its data may have to come from a site that is away.
	Patience time.Duration
	Contents Contents
	Log      hclog.Logger
	Registry prometheus.Registerer // may be nil
	Now      func() time.Time      // default time.Now
}

// Store makes and keeps shorter frames. Run must be running. Safe for concurrent use.
type Store struct {
	o        Options
	m        metrics
	encoders chan struct{}
	build    chan image.ID // bases whose index is to be made

	mu      sync.Mutex
	groups  map[group]*frames
	used    int64
	entries int   // chunks whose form is known, those that do not get shorter included
	most    int   // of these
	clock   int64 // rises with every use
	bases   map[image.ID]*base
}

// group names the frames of one content for the sites that have one base, which may be none.
type group struct{ content, base image.ID }

// frames are those of one group. Store.mu guards them.
type frames struct {
	chunks map[int]*entry
	bytes  int64
	used   int64 // Store.clock at the last use
}

// entry is the frame of a chunk. done is closed when the rest is known, which then does not change.
type entry struct {
	done chan struct{}
	size int64 // 0: the chunk does not get shorter
	err  error
}

// maxEntries bounds the memory for what is known of chunks: those of 1 TiB.
const maxEntries = 1 << 18

// New returns a store with an empty directory. Errors are Unavailable (reason COMPACT_DISK).
func New(o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Encoders == 0 {
		o.Encoders = 2
	}
	if o.Patience == 0 {
		o.Patience = 20 * time.Second
	}
	err := os.RemoveAll(o.Dir)
	if err == nil {
		err = os.MkdirAll(o.Dir, 0o700)
	}
	if err != nil {
		return nil, diskFault(err)
	}
	s := &Store{
		o: o, m: newMetrics(), encoders: make(chan struct{}, o.Encoders), build: make(chan image.ID, maxBases),
		groups: map[group]*frames{}, most: maxEntries, bases: map[image.ID]*base{},
	}
	s.m.register(o.Registry)
	return s, nil
}

func diskFault(err error) error {
	return fault.Wrap(err, fault.Unavailable, "COMPACT_DISK", "the disk of the hub cannot be used")
}

// Open returns the shorter frame of a chunk for a site that has the content base, which may be empty, and nil when there is
// none. It waits for the chunk, for some time for the index of the base and, when others encode, for its turn, until ctx ends.
// The caller closes the file.
func (s *Store) Open(ctx context.Context, content image.ID, index int, base image.ID) (*os.File, error) {
	if base != "" {
		usable, err := s.await(ctx, base)
		if err != nil {
			return nil, err
		}
		if !usable {
			base = ""
		}
	}
	size, err := s.made(ctx, group{content, base}, index)
	if err != nil || size == 0 {
		return nil, err
	}
	f, err := os.Open(s.path(group{content, base}, index))
	if os.IsNotExist(err) {
		return nil, nil // evicted just now
	}
	if err != nil {
		return nil, diskFault(err)
	}
	s.m.served.Add(float64(size))
	return f, nil
}

// made returns the length of the frame of a chunk when that is known, 0 when the chunk does not get shorter.
func (s *Store) made(ctx context.Context, k group, index int) (int64, error) {
	for {
		e, mine := s.entry(k, index)
		if mine {
			e.size, e.err = s.encode(ctx, k, index)
			s.settle(k, index, e)
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if mine || !errors.Is(e.err, context.Canceled) && !errors.Is(e.err, context.DeadlineExceeded) {
			return e.size, e.err
		} // else whoever made it went away
	}
}

// entry returns the entry of a chunk, and whether the caller has to make its frame.
func (s *Store) entry(k group, index int) (e *entry, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[k]
	if g == nil {
		g = &frames{chunks: map[int]*entry{}}
		s.groups[k] = g
	}
	s.clock++
	g.used = s.clock
	if e = g.chunks[index]; e == nil {
		e, mine = &entry{done: make(chan struct{})}, true
		g.chunks[index] = e
	}
	return e, mine
}

// settle counts a frame that was made and makes room for it. One that could not be made may be tried again.
func (s *Store) settle(k group, index int, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(e.done)
	g := s.groups[k]
	if e.err != nil {
		delete(g.chunks, index)
		if len(g.chunks) == 0 {
			delete(s.groups, k)
		}
		return
	}
	g.bytes += e.size
	s.used += e.size
	s.entries++
	for s.over() && s.evict(k) {
	}
	s.thin(k, index)
	s.m.bytes.Set(float64(s.used))
}

// over reports whether something has to go. Lock held.
func (s *Store) over() bool { return s.used > s.o.Limit || s.entries > s.most }

// thin removes frames of a group that alone takes too much, those that the map names first, but not the one just made.
func (s *Store) thin(k group, spare int) {
	g := s.groups[k]
	for index, e := range g.chunks {
		if !s.over() {
			return
		}
		if index == spare || !e.known() {
			continue
		}
		if e.size > 0 {
			if err := os.Remove(s.path(k, index)); err != nil {
				s.o.Log.Warn("cannot remove compact frame", "content", string(k.content), "chunk", index, "error", err)
			}
		}
		delete(g.chunks, index)
		g.bytes -= e.size
		s.used -= e.size
		s.entries--
	}
}

// evict removes the group that was not used for longest, but not spare. It returns false when there is no other. Groups in which a
// frame is being made are in use.
func (s *Store) evict(spare group) bool {
	var oldest group
	var found *frames
	for k, g := range s.groups {
		if k != spare && (found == nil || g.used < found.used) && g.idle() {
			oldest, found = k, g
		}
	}
	if found == nil {
		return false
	}
	delete(s.groups, oldest)
	s.used -= found.bytes
	s.entries -= len(found.chunks)
	if err := os.RemoveAll(s.dir(oldest)); err != nil {
		s.o.Log.Warn("cannot remove compact frames", "content", string(oldest.content), "error", err)
	}
	return true
}

func (g *frames) idle() bool {
	for _, e := range g.chunks {
		if !e.known() {
			return false
		}
	}
	return true
}

func (e *entry) known() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func (s *Store) dir(k group) string {
	name := "plain"
	if k.base != "" {
		name = string(k.base)
	}
	return filepath.Join(s.o.Dir, string(k.content), name)
}

func (s *Store) path(k group, index int) string {
	return filepath.Join(s.dir(k), strconv.Itoa(index))
}
