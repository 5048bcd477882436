package staging

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Names below the area's directory.
const (
	contentsDir  = "contents"
	framesDir    = "frames"
	manifestFile = "manifest"
	tempSuffix   = ".tmp"
)

// state is how far a content is.
type state int

const (
	growing  state = iota // a Writer appends to it
	complete              // committed
	gone                  // aborted or forgotten
)

// content is what the area knows of one content. Area.mu guards all fields but loading.
type content struct {
	id    image.ID
	dir   string
	state state
	cause error // why it is gone

	digests []manifest.Digest // only ever appended to, so a slice of it may be shared; nil when not loaded
	end     *manifest.End     // set when complete and loaded
	bytes   int64             // appended so far
	grown   chan struct{}     // closed and replaced when digests, end or state change
	touched time.Time         // last use of the manifest; when it went, for a content that is gone
	loading sync.Mutex        // held while the manifest is read
	like    likeness

	frames   map[int]*file
	arriving map[int]chan struct{} // frames being PUT; closed when done
	writing  bool                  // a Writer owns the directory

	transient bool // never survives the process; pinned
	waits     bool // stays until it is imported: it leaves room
	need      Need
	mentioned bool // SetNeeds has named it
	recovered bool // it was there when the area was opened
	idleSince time.Time

	demand demand
}

// file is the frame of one chunk on disk. Area.mu guards all fields.
type file struct {
	c       *content
	index   int
	size    int64
	last    time.Time // last use
	reads   int       // times it was served whole
	holds   int       // readers that have it open or are about to
	dying   bool      // being removed
	dropped bool      // removed while held: its bytes are freed with the last hold
	stuck   bool      // the disk refused to remove it
}

func newContent(dir string, id image.ID, now time.Time) *content {
	return &content{
		id: id, dir: filepath.Join(dir, contentsDir, string(id)), grown: make(chan struct{}), touched: now, idleSince: now,
		frames: map[int]*file{}, arriving: map[int]chan struct{}{}, demand: newDemand(),
	}
}

func (c *content) framePath(index int) string {
	return filepath.Join(c.dir, framesDir, strconv.Itoa(index))
}

func (c *content) manifestPath() string { return filepath.Join(c.dir, manifestFile) }

// changed wakes those who wait for more chunks, the end or the failure of the content.
func (c *content) changed() {
	close(c.grown)
	c.grown = make(chan struct{})
}

// chunkLen returns the length of a chunk that is known.
func (c *content) chunkLen(index int) int {
	length := c.bytes
	if c.end != nil {
		length = c.end.Length
	}
	return manifest.ChunkLen(length, index)
}

// lookup returns a content that is not gone, with its manifest loaded. It releases the lock while it loads.
func (a *Area) lookup(id image.ID) (*content, error) {
	for {
		c := a.contents[id]
		switch {
		case c == nil:
			a.miss(id)
			return nil, fault.New(fault.NotFound, ReasonUnknown, "content %s is not known here", id)
		case c.state == gone:
			return nil, c.cause
		case c.state == growing || c.end != nil:
			c.touched = a.o.Now()
			return c, nil
		}
		if err := a.load(c); err != nil {
			return nil, err
		}
	}
}

// load reads the manifest of a complete content. It releases the lock meanwhile.
func (a *Area) load(c *content) error {
	a.mu.Unlock()
	defer a.mu.Lock()
	c.loading.Lock()
	defer c.loading.Unlock()
	a.mu.Lock()
	done := c.end != nil || c.state != complete
	a.mu.Unlock()
	if done {
		return nil
	}
	m, root, err := readManifest(c.manifestPath())
	if err != nil {
		a.o.Log.Error("cannot read manifest", "content", c.id, "error", err)
		return err
	}
	a.mu.Lock()
	c.digests, c.end = m.Chunks, &manifest.End{Length: m.Length, Root: root}
	a.mu.Unlock()
	return nil
}

func readManifest(path string) (*manifest.Manifest, manifest.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, manifest.Digest{}, diskFault(err)
	}
	defer func() { _ = f.Close() }()
	m, root, err := manifest.Read(f, frame.Sum)
	if _, classed := fault.As(err); err != nil && !classed {
		err = diskFault(err)
	}
	return m, root, err
}

// Follow waits until the content has a chunk number from or is complete, and returns the digests known from there on and,
// once these are all, the end. The digests are shared and must not be changed. Errors: NotFound, Precondition
// (manifest.ReasonGone), Invalid when from lies behind the end, Unavailable (ReasonDisk), Corrupt when the stored
// manifest is damaged, or the cause of ctx.
func (a *Area) Follow(ctx context.Context, id image.ID, from int) ([]manifest.Digest, *manifest.End, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		c, err := a.lookup(id)
		switch {
		case err != nil:
			return nil, nil, err
		case from < 0 || c.end != nil && from > len(c.digests):
			return nil, nil, fault.BadField("from", "the content has %d chunks", len(c.digests))
		case from < len(c.digests) || c.end != nil:
			n := len(c.digests)
			return c.digests[from:n:n], c.end, nil
		}
		if err := a.wait(ctx, c.grown); err != nil {
			return nil, nil, err
		}
	}
}

// Manifest returns the manifest and the root digest of a complete content. The manifest is shared and must not be
// changed. Errors are those of Follow, and Precondition (ReasonGrowing) for a content that is not complete.
func (a *Area) Manifest(id image.ID) (*manifest.Manifest, manifest.Digest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.lookup(id)
	if err != nil {
		return nil, manifest.Digest{}, err
	}
	if c.end == nil {
		return nil, manifest.Digest{}, fault.New(fault.Precondition, ReasonGrowing, "content %s is still arriving", id)
	}
	return &manifest.Manifest{Length: c.end.Length, Chunks: c.digests}, c.end.Root, nil
}
