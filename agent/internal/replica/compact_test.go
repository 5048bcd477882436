package replica

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/delta"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// shorter makes what differs between two contents of a hub.
type shorter struct {
	hub   *fakeHub
	dir   string
	asked atomic.Int64 // frames against a base
	bases map[image.ID]*delta.Index
}

func (s *shorter) Open(_ context.Context, content image.ID, index int, from image.ID) (*os.File, error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	old := s.hub.contents[from]
	if old == nil {
		return nil, nil
	}
	s.asked.Add(1)
	x := s.bases[from]
	if x == nil { // made once: a slow machine takes seconds
		x = delta.NewIndex(int64(len(old.data)))
		x.Add(0, old.data)
		s.bases[from] = x
	}
	data := s.hub.contents[content].data
	chunk := data[index*manifest.ChunkSize : min(len(data), (index+1)*manifest.ChunkSize)]
	payload, err := delta.NewEncoder(x, bytes.NewReader(old.data)).Encode(nil, chunk)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, strconv.FormatInt(s.asked.Load(), 10))
	b := append(frame.Header{Codec: frame.Delta, Raw: len(chunk), Payload: len(payload)}.Append(nil), payload...)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// updated returns a site with a published copy of img1, the goal of a second version of it as img2, and what it is.
func updated(t *testing.T) (*site, *fakeContent, *agentv1.DesiredReplica, *shorter) {
	t.Helper()
	hub := newFakeHub(t)
	s1 := &shorter{hub: hub, dir: t.TempDir(), bases: map[image.ID]*delta.Index{}}
	hub.shorter.Store(s1)
	old := hub.add(conA, pattern(50, "dzdd"))
	next := hub.add(conB, slices.Concat([]byte("moved"), old.data, []byte("new")))
	s := newSite(t, hub)
	s.compact = CompactAlways // whatever the rate of this machine
	s.begin()
	s.snapshot(old.describe(goalOf(goalPresent, 1, conA)))
	s.await(isPresent, 1)
	d := next.describe(goalOf(goalPresent, 1, conB))
	d.ImageId, d.Base = string(img2), &agentv1.Base{ImageId: string(img1), ContentId: string(conA)}
	return s, next, d, s1
}

// Of a new version only what is new comes over the link.
func TestSecondVersion(t *testing.T) {
	s, next, d, _ := updated(t)
	s.delta(d)
	r := s.awaitOf(img2, st0, isPresent, 1)
	holds(t, s.raw(st0), img2, next)
	if p := r.Progress; p.BytesReceived > 1000 || p.BytesSaved < next.man.DataBytes()-1000 {
		t.Errorf("received %d and saved %d of %d", p.BytesReceived, p.BytesSaved, next.man.DataBytes())
	}
}

// The hub may find a base, or a better one, only when the whole content has come; what has not been fetched is made of it then.
func TestLateBase(t *testing.T) {
	for name, first := range map[string]*agentv1.Base{
		"none before":         nil,
		"a useless one":       {ImageId: string(image.NewID()), ContentId: string(conA)},
		"one with a bad name": {ImageId: "../x", ContentId: string(conA)},
	} {
		t.Run(name, func(t *testing.T) {
			s, next, d, deltas := updated(t)
			growing := proto.CloneOf(d)
			growing.Base, growing.Content = first, &agentv1.Content{ContentId: string(conB)}
			s.hub.change(func() { next.shown, next.complete = 1, false })
			s.delta(growing)
			s.until("the first chunk is here", func() bool {
				return s.view[string(img2)+"@"+st0].GetProgress().GetBytesReceived() >= manifest.ChunkSize
			})
			if n := deltas.asked.Load(); n != 0 {
				t.Fatalf("%d frames of a base that was not named", n)
			}
			s.delta(d)
			s.hub.change(func() { next.shown, next.complete = len(next.man.Chunks), true })
			r := s.awaitOf(img2, st0, isPresent, 1)
			holds(t, s.raw(st0), img2, next)
			if deltas.asked.Load() == 0 || r.Progress.BytesReceived > manifest.ChunkSize+1000 {
				t.Errorf("%d frames of the base, %d bytes received", deltas.asked.Load(), r.Progress.BytesReceived)
			}
		})
	}
}

// A base that is not there, is of another content, cannot be read or is damaged costs bytes and nothing else.
func TestBadBase(t *testing.T) {
	for name, spoil := range map[string]func(*site, *agentv1.DesiredReplica){
		"missing":       func(_ *site, d *agentv1.DesiredReplica) { d.Base.ImageId = string(image.NewID()) },
		"other content": func(_ *site, d *agentv1.DesiredReplica) { d.Base.ContentId = string(image.NewID()) },
		"bad name":      func(_ *site, d *agentv1.DesiredReplica) { d.Base.ImageId = "../x" },
		"cannot be opened": func(s *site, _ *agentv1.DesiredReplica) {
			s.pools[st0].Fail(rbdtest.OpOpenSnapshot, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "away"))
		},
		"cannot be read": func(s *site, _ *agentv1.DesiredReplica) {
			s.pools[st0].Fail(rbdtest.OpReadAt, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "away"))
		},
		"damaged": func(s *site, _ *agentv1.DesiredReplica) { damageAll(s.t, filepath.Join(s.dirs[st0], string(img1))) },
	} {
		t.Run(name, func(t *testing.T) {
			s, next, d, _ := updated(t)
			spoil(s, d)
			s.delta(d)
			s.awaitOf(img2, st0, isPresent, 1)
			holds(t, s.raw(st0), img2, next)
		})
	}
}

// damageAll changes every MiB of an image.
func damageAll(t *testing.T, name string) {
	t.Helper()
	home, err := filepath.EvalSymlinks(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(home, "data"), os.O_RDWR, 0) //nolint:gosec // a file of this test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off+100 < info.Size(); off += 1 << 20 {
		if _, err := f.WriteAt(make([]byte, 100), off+50); err != nil {
			t.Fatal(err)
		}
	}
}

// On a fast link chunks come as they are, unless somebody wants to save its bytes; with a base it must be faster for that.
func TestWhenCompact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode string
		rate float64
		base bool
		want string
	}{
		{CompactAuto, 0, false, "short"},
		{"", 10 << 20, false, "short"},
		{"", 10 << 20, true, "delta"},
		{CompactAuto, 50 << 20, false, "whole"},
		{CompactAuto, 50 << 20, true, "delta"},
		{CompactAuto, 500 << 20, true, "whole"},
		{CompactAlways, 500 << 20, false, "short"},
		{CompactAlways, 500 << 20, true, "delta"},
		{CompactNever, 1, true, "whole"},
	} {
		link := &linkOf{rate: c.rate}
		f := &fill{m: &Manager{cfg: Config{Compact: c.mode, Frames: link}}, j: job{replica: &replica{}}}
		if c.base {
			f.base.Store(&base{})
		}
		if _, _, err := f.get(t.Context(), conA, 0, manifest.Digest{}, nil); err != nil {
			t.Fatal(err)
		}
		if link.form != c.want {
			t.Errorf("%q at %.0f with a base: %v: %s, want %s", c.mode, c.rate, c.base, link.form, c.want)
		}
	}
}

// linkOf notes in what form the latest chunk was asked for.
type linkOf struct {
	Frames
	rate float64
	form string
}

func (l *linkOf) LinkRate() float64 { return l.rate }

func (l *linkOf) Get(context.Context, image.ID, int, manifest.Digest, []byte) ([]byte, int64, error) {
	l.form = "whole"
	return nil, 0, nil
}

func (l *linkOf) GetCompact(_ context.Context, _ image.ID, _ int, _ manifest.Digest, _ []byte, b *frame.Base) ([]byte, int64, error) {
	l.form = "short"
	if b != nil {
		l.form = "delta"
	}
	return nil, 0, nil
}
