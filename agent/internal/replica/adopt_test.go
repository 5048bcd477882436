package replica

import (
	"crypto/md5"  //nolint:gosec // the Image API publishes it
	"crypto/sha1" //nolint:gosec // callers may state it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/filerbd"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

const goalAdopted = agentv1.Goal_GOAL_ADOPTED

// looks is how many reads it takes to see what format a raw copy has: of its beginning and of its end.
const looks = 2

// foreign is a copy that somebody else has made.
type foreign struct {
	protect bool
	meta    map[string]string
}

// put writes a copy under a name as Nova does: image, snapshot, protection.
func (f foreign) put(s *site, name string, data []byte) {
	s.t.Helper()
	img, err := s.raw(st0).Create(s.t.Context(), name, int64(len(data)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	for off := 0; off < len(data); off += manifest.ChunkSize {
		b := data[off:min(off+manifest.ChunkSize, len(data))]
		if frame.IsZero(b) {
			continue
		}
		if err := img.WriteAt(s.t.Context(), b, int64(off)); err != nil {
			s.t.Fatal(err)
		}
	}
	for k, v := range f.meta {
		if err := img.SetMeta(s.t.Context(), k, v); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := img.CreateSnapshot(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if f.protect {
		if err := img.ProtectSnapshot(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// content describes data as the hub would.
func contentOf(data []byte) *fakeContent {
	c := &fakeContent{data: data, man: manifest.Manifest{Length: int64(len(data))}}
	for i := range manifest.Count(c.man.Length) {
		c.man.Chunks = append(c.man.Chunks, frame.ChunkDigest(c.chunk(i)))
	}
	c.root = c.man.Root(frame.Sum)
	return c
}

// adoptable returns a site with a foreign copy of img1, and a hub that awaits its manifest as that of conA.
func adoptable(t *testing.T, layout string) (*site, *fakeContent) {
	t.Helper()
	hub := newFakeHub(t)
	s := newSite(t, hub)
	c := contentOf(pattern(60, layout))
	foreign{protect: true}.put(s, string(img1), c.data)
	hub.awaited[conA] = manifest.End{Length: c.man.Length}
	return s, c
}

func adoptedGoal(goal agentv1.Goal, generation uint64) *agentv1.DesiredReplica {
	d := goalOf(goal, generation, conA)
	d.Adopted = true
	return d
}

func (s *site) meta(key string) string {
	s.t.Helper()
	img, err := s.raw(st0).Open(s.t.Context(), string(img1))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	v, err := img.Meta(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func wantAdoption(t *testing.T, a *agentv1.Adoption, c *fakeContent) {
	t.Helper()
	m5, s1, s2, s5 := md5.Sum(c.data), sha1.Sum(c.data), sha256.Sum256(c.data), sha512.Sum512(c.data) //nolint:gosec // see the imports
	want := fmt.Sprint(c.man.Length, c.man.DataBytes(), true, c.root, hex.EncodeToString(m5[:]), hex.EncodeToString(s1[:]),
		hex.EncodeToString(s2[:]), hex.EncodeToString(s5[:]))
	got := fmt.Sprint(a.GetSizeBytes(), a.GetDataBytes(), a.GetComplete(), manifest.Digest(a.GetManifestDigest()), a.GetMd5(), a.GetSha1(), a.GetSha256(), a.GetSha512())
	if got != want {
		t.Errorf("adoption\n%s, want\n%s", got, want)
	}
}

// A copy is reported as soon as it is found, read once, and marked as ours only when the hub says so.
func TestAdopt(t *testing.T) {
	for _, layout := range []string{"p", "d", "dzhzzp", "zzz", "zp", "ddddddddddddddddddddp"} {
		t.Run(layout, func(t *testing.T) {
			s, c := adoptable(t, layout)
			s.begin()
			gate := s.pools[st0].Block(rbdtest.OpExtents)
			s.snapshot(adoptedGoal(goalAdopted, 1))
			s.entered(gate)
			if a := s.await(isVerifying, 1).Adoption; a.GetSizeBytes() != c.man.Length || a.Complete {
				t.Errorf("before it is read: %v", a)
			}
			gate.Release()
			wantAdoption(t, s.await(isPresent, 1).Adoption, c)
			if m := s.hub.manifestOf(conA); m == nil || m.Length != c.man.Length || !slices.Equal(m.Chunks, c.man.Chunks) {
				t.Errorf("the hub got %v", m)
			}
			if s.meta(metaContent) != "" {
				t.Error("marked before the hub has agreed")
			}
			reads := s.pools[st0].Calls(rbdtest.OpReadAt)
			s.delta(c.describe(adoptedGoal(goalPresent, 2)))
			if r := s.await(isPresent, 2); r.Adoption != nil || r.Verification.GetTime() == nil {
				t.Errorf("once ours: %v", r)
			}
			if n := s.pools[st0].Calls(rbdtest.OpReadAt); n != reads {
				t.Errorf("read %d times more", n-reads)
			}
			if s.meta(metaContent) != string(conA) {
				t.Errorf("content %q", s.meta(metaContent))
			}
			s.holds(c)
			s.tidy(string(img1))
		})
	}
}

// Holes cost neither reads nor memory.
func TestAdoptReadsNoHoles(t *testing.T) {
	hub := newFakeHub(t)
	s := newSite(t, hub)
	const size = 96 << 20
	img, err := s.raw(st0).Create(t.Context(), string(img1), size)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{img.WriteAt(t.Context(), []byte("end"), size-3), img.CreateSnapshot(t.Context()), img.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	hub.awaited[conA] = manifest.End{Length: size}
	s.begin()
	s.snapshot(adoptedGoal(goalAdopted, 1))
	r := s.await(isPresent, 1)
	if n := s.pools[st0].Calls(rbdtest.OpReadAt); n != manifest.ChunkSize/writeSize+3*looks || r.Adoption.DataBytes != manifest.ChunkSize {
		t.Errorf("%d reads, %v", n, r)
	}
	if r.Progress.GetBytesDone() != size || r.Progress.GetBytesTotal() != size {
		t.Errorf("progress %v", r.Progress)
	}
	data := make([]byte, size)
	copy(data[size-3:], "end")
	wantAdoption(t, r.Adoption, contentOf(data))
}

func TestAdoptProtectsTheSnapshot(t *testing.T) {
	hub := newFakeHub(t)
	s := newSite(t, hub)
	c := contentOf(pattern(61, "p"))
	foreign{}.put(s, string(img1), c.data)
	hub.awaited[conA] = manifest.End{Length: c.man.Length}
	s.begin()
	s.snapshot(adoptedGoal(goalAdopted, 1))
	s.await(isPresent, 1)
	img, err := s.raw(st0).Open(t.Context(), string(img1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	if _, protected, err := img.SnapshotState(t.Context()); err != nil || !protected {
		t.Errorf("protected %v, %v", protected, err)
	}
}

func TestAdoptNothing(t *testing.T) {
	hub := newFakeHub(t)
	s := newSite(t, hub).begin()
	s.snapshot(adoptedGoal(goalAdopted, 1))
	s.await(isAbsent, 1)
	s.delta(adoptedGoal(goalPresent, 2))
	s.await(isAbsent, 2) // never written
	s.tidy("")
	img, err := s.raw(st0).Create(t.Context(), string(img1), 100)
	if err != nil {
		t.Fatal(err)
	}
	_ = img.Close()
	for g, goal := range []agentv1.Goal{goalAdopted, goalPresent} {
		s.delta(adoptedGoal(goal, uint64(3+g)))
		if r := s.await(isFailed, uint64(3+g)); r.Failure.Reason != "SNAPSHOT_MISSING" || r.Failure.Retryable {
			t.Errorf("without a snapshot: %v", r)
		}
	}
}

func TestAdoptOfAnotherLength(t *testing.T) {
	s, c := adoptable(t, "p")
	s.begin()
	d := adoptedGoal(goalAdopted, 1)
	d.Content.SizeBytes = c.man.Length + 1
	s.snapshot(d)
	if r := s.await(isFailed, 1); r.Failure.Reason != "COPY_CHANGED" || r.Failure.Retryable {
		t.Errorf("got %v", r)
	}
}

// replace puts another image in the place of the copy.
func (s *site) replace(data []byte) {
	s.t.Helper()
	if err := s.raw(st0).Remove(s.t.Context(), string(img1)); err != nil {
		s.t.Error(err)
	}
	if data != nil {
		foreign{}.put(s, string(img1), data)
	}
}

func TestAdoptOfAChangingCopy(t *testing.T) {
	for name, to := range map[string][]byte{"replaced": pattern(62, "dp"), "removed": nil} {
		t.Run(name, func(t *testing.T) {
			s, _ := adoptable(t, "dp")
			s.begin()
			s.pools[st0].Pass(rbdtest.OpReadAt, 2*looks)
			gate := s.pools[st0].Block(rbdtest.OpReadAt)
			s.snapshot(adoptedGoal(goalAdopted, 1))
			s.entered(gate)
			s.replace(to)
			gate.Release()
			if to == nil {
				s.await(isAbsent, 1)
			} else if r := s.await(isFailed, 1); r.Failure.Reason != "COPY_CHANGED" || r.Failure.Retryable {
				t.Errorf("got %v", r)
			}
			if s.hub.manifestOf(conA) != nil {
				t.Error("its manifest was sent")
			}
		})
	}
}

// A copy that changed between its reading and the hub's yes is not marked.
func TestAdoptedCopyDiffersFromItsManifest(t *testing.T) {
	s, c := adoptable(t, "dp")
	s.begin()
	s.snapshot(adoptedGoal(goalAdopted, 1))
	s.await(isPresent, 1)
	s.stop()
	s.replace(pattern(63, "dp"))
	s.begin()
	s.snapshot(c.describe(adoptedGoal(goalPresent, 2)))
	if r := s.await(isFailed, 2); r.Failure.Reason != "CONTENT_DIFFERS" || r.Failure.Retryable {
		t.Errorf("got %v", r)
	}
	if s.meta(metaContent) != "" {
		t.Error("marked")
	}
}

// Errors of store and hub are told, or waited for, and do not spoil the result.
func TestAdoptFaults(t *testing.T) {
	s, c := adoptable(t, "dzdp")
	end := s.hub.awaited[conA]
	delete(s.hub.awaited, conA)
	s.begin()
	down := fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down")
	generation := uint64(0)
	for _, op := range []rbdtest.Op{
		rbdtest.OpOpen, rbdtest.OpSnapshotState, rbdtest.OpMeta, rbdtest.OpOpenSnapshot, rbdtest.OpExtents, rbdtest.OpReadAt,
	} {
		generation++
		s.pools[st0].Fail(op, 1, down)
		s.delta(adoptedGoal(goalAdopted, generation))
		if r := s.await(isFailed, generation); r.Failure.Reason != "STORE_UNREACHABLE" || !r.Failure.Retryable {
			t.Errorf("%s: %v", op, r)
		}
	}
	generation++
	s.delta(adoptedGoal(goalAdopted, generation))
	s.until("everything has been read", func() bool {
		r := s.view[string(img1)+"@"+st0]
		return r.GetGeneration() == generation && r.GetProgress().GetBytesDone() == c.man.Length
	})
	s.hub.change(func() { s.hub.awaited[conA] = end })
	wantAdoption(t, s.await(isPresent, generation).Adoption, c)
	for n := range 4 {
		generation++
		s.pools[st0].Pass(rbdtest.OpSetMeta, n)
		s.pools[st0].Fail(rbdtest.OpSetMeta, 1, down)
		s.delta(c.describe(adoptedGoal(goalPresent, generation)))
		if r := s.await(isFailed, generation); r.Failure.Reason != "STORE_UNREACHABLE" {
			t.Errorf("mark %d: %v", n, r)
		}
	}
	generation++
	s.delta(c.describe(adoptedGoal(goalPresent, generation)))
	s.await(isPresent, generation)
	s.holds(c)
}

// A hub that wants another manifest is told.
func TestAdoptRefusedByTheHub(t *testing.T) {
	s, c := adoptable(t, "dp")
	s.hub.awaited[conA] = manifest.End{Length: c.man.Length, Root: manifest.Digest{1}}
	s.begin()
	s.snapshot(adoptedGoal(goalAdopted, 1))
	if r := s.await(isFailed, 1); r.Failure.Reason != "BAD_MANIFEST" {
		t.Errorf("got %v", r)
	}
}

func TestAdoptIsInterrupted(t *testing.T) {
	s, c := adoptable(t, "ddp")
	s.begin()
	s.pools[st0].Pass(rbdtest.OpReadAt, 2*looks)
	gate := s.pools[st0].Block(rbdtest.OpReadAt)
	defer gate.Release()
	s.snapshot(adoptedGoal(goalAdopted, 1))
	s.entered(gate)
	s.delta(adoptedGoal(goalAdopted, 2))
	wantAdoption(t, s.await(isPresent, 2).Adoption, c)
}

// However the process dies, the next one comes to the same result, and the bytes are never touched.
func TestCrashAtEveryCallOfAnAdoption(t *testing.T) {
	crashes(t, func(t *testing.T, at int, late bool) int {
		t.Helper()
		s, c := adoptable(t, "hzp")
		d := adoptedGoal(goalAdopted, 1)
		n := s.die(at, late, []*agentv1.DesiredReplica{d}, func() { s.await(isPresent, 1) })
		s.begin()
		s.snapshot(d)
		wantAdoption(t, s.await(isPresent, 1).Adoption, c)
		return n
	})
	crashes(t, func(t *testing.T, at int, late bool) int {
		t.Helper()
		s, c := adoptable(t, "hp")
		d := c.describe(adoptedGoal(goalPresent, 1))
		n := s.die(at, late, []*agentv1.DesiredReplica{d}, func() { s.await(isPresent, 1) })
		s.begin()
		s.snapshot(d)
		s.await(isPresent, 1)
		s.holds(c)
		s.tidy(string(img1))
		return n
	})
}

// An adopted copy can be removed like any other, also before it is marked; without the hub's word it is not ours.
func TestRemovalOfAdoptedCopies(t *testing.T) {
	for _, marked := range []bool{false, true} {
		t.Run(fmt.Sprintf("marked-%v", marked), func(t *testing.T) {
			s, c := adoptable(t, "p")
			s.begin()
			s.snapshot(adoptedGoal(goalAdopted, 1))
			s.await(isPresent, 1)
			kept := adoptedGoal(goalAdopted, 4)
			if marked {
				s.delta(c.describe(adoptedGoal(goalPresent, 2)))
				s.await(isPresent, 2)
				kept = c.describe(adoptedGoal(goalPresent, 4))
			} else {
				s.delta(goalOf(goalAbsent, 2, conA))
				s.await(isAbsent, 2)
				if got := s.names(); got != string(img1) {
					t.Fatalf("images %q", got)
				}
			}
			s.delta(adoptedGoal(goalCondemned, 3))
			s.await(isCondemned, 3)
			s.delta(kept) // another store refused
			s.await(isPresent, 4)
			unclone := s.clone(string(img1))
			s.delta(adoptedGoal(goalCondemned, 5))
			s.await(inUse, 5)
			unclone()
			s.delta(adoptedGoal(goalCondemned, 6))
			s.await(isCondemned, 6)
			s.delta(adoptedGoal(goalAbsent, 7))
			s.await(isAbsent, 7)
			s.tidy("")
		})
	}
}

// A clone inherits the marks of the image it comes from: a snapshot of an instance looks like a copy of the image the
// instance was started from. It is not.
func TestInheritedMarks(t *testing.T) {
	hub := newFakeHub(t)
	s := newSite(t, hub)
	c := contentOf(pattern(64, "dp"))
	foreign{protect: true, meta: map[string]string{
		metaContent: string(conB), metaImage: string(img2), metaManifest: "0123", metaVerified: "7 1 9",
	}}.put(s, string(img1), c.data)
	hub.awaited[conA] = manifest.End{Length: c.man.Length}
	hub.add(conB, c.data)
	s.begin()
	s.snapshot(goalOf(goalPresent, 1, conB))
	if r := s.await(isFailed, 1); r.Failure.Reason != "NAME_TAKEN" {
		t.Errorf("taken for ours: %v", r)
	}
	s.delta(goalOf(goalAbsent, 2, conB))
	s.await(isAbsent, 2)
	s.delta(adoptedGoal(goalAdopted, 3))
	wantAdoption(t, s.await(isPresent, 3).Adoption, c)
	s.delta(c.describe(adoptedGoal(goalPresent, 4)))
	if r := s.await(isPresent, 4); r.Verification.GetGeneration() != 0 || r.Verification.GetChunksDamaged() != 0 {
		t.Errorf("got %v", r)
	}
	s.holds(c)
	if got := image.ID(s.meta(metaImage)); got != img1 {
		t.Errorf("marked as %s", got)
	}
}

// BenchmarkDigestOfHoles tells what an empty copy costs: hashing its zeroes, and nothing else.
func BenchmarkDigestOfHoles(b *testing.B) {
	const size = 1 << 30
	pool, err := filerbd.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	img, err := pool.Create(b.Context(), "empty", size)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	b.SetBytes(size)
	for b.Loop() {
		if _, err := digest(b.Context(), img, &tracker{}); err != nil {
			b.Fatal(err)
		}
	}
}
