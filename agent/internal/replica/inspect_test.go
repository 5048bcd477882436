package replica

import (
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// qcow2Of is an empty disk of 4 MiB in 100 KiB; with a backing file, it names one.
func qcow2Of(backing bool) []byte {
	p := make([]byte, 100<<10)
	copy(p, "QFI\xfb\x00\x00\x00\x03")
	p[23], p[29] = 16, 0x40
	copy(p[100:], "\x00\x00\x00\x68")
	if backing {
		p[14], p[19] = 2, 11
		copy(p[512:], "/etc/passwd")
	}
	return p
}

// Rows 41 and 42: a raw copy that a program would take for a disk with another behind it is not taken over, whoever put it there.
// Nothing of it is read beyond what shows that, nothing is changed, and the hub is told nothing but why.
func TestAdoptInspects(t *testing.T) {
	for name, c := range map[string]struct {
		data            []byte
		disk, container string
		reason          string // empty: taken over
	}{
		"raw":                         {pattern(70, "dp"), "raw", "bare", ""},
		"raw, from a hub that is old": {pattern(70, "dp"), "", "", ""},
		"a backing file":              {qcow2Of(true), "raw", "bare", "FORMAT_UNSAFE"},
		"a backing file, as qcow2":    {qcow2Of(true), "qcow2", "bare", "FORMAT_UNSAFE"},
		"a backing file, old hub":     {qcow2Of(true), "", "", "FORMAT_UNSAFE"},
		"qcow2 as raw":                {qcow2Of(false), "raw", "bare", "FORMAT_MISMATCH"},
		"qcow2":                       {qcow2Of(false), "qcow2", "bare", ""},
		"raw as qcow2":                {pattern(70, "dp"), "qcow2", "bare", "FORMAT_MISMATCH"},
		"flat vmdk":                   {[]byte("# Disk DescriptorFile\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n"), "raw", "bare", "FORMAT_UNSAFE"},
		"in another container":        {qcow2Of(false), "raw", "ova", ""},
	} {
		t.Run(name, func(t *testing.T) {
			hub := newFakeHub(t)
			s := newSite(t, hub)
			content := contentOf(c.data)
			foreign{protect: true}.put(s, string(img1), c.data)
			hub.awaited[conA] = manifest.End{Length: content.man.Length}
			s.begin()
			d := adoptedGoal(goalAdopted, 1)
			if c.disk != "" {
				d.Metadata = &agentv1.ImageMetadata{Revision: 1, Status: "importing", DiskFormat: c.disk, ContainerFormat: c.container}
			}
			s.snapshot(d)
			if c.reason == "" {
				wantAdoption(t, s.await(isPresent, 1).Adoption, content)
				return
			}
			r := s.await(isFailed, 1)
			if r.Failure.Reason != c.reason || r.Failure.Retryable || r.Adoption != nil {
				t.Errorf("got %v", r)
			}
			if n := s.pools[st0].Calls(rbdtest.OpReadAt); n != looks {
				t.Errorf("%d reads", n)
			}
			if s.hub.manifestOf(conA) != nil || s.meta(metaContent) != "" || s.names() != string(img1) {
				t.Errorf("something was done about it: %q", s.names())
			}
			s.holdsBytes(c.data)
		})
	}
}

// holdsBytes checks that the copy of somebody else is as it was.
func (s *site) holdsBytes(want []byte) {
	s.t.Helper()
	snap, err := s.raw(st0).OpenSnapshot(s.t.Context(), string(img1))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = snap.Close() }()
	got := make([]byte, snap.Size())
	if err := snap.ReadAt(s.t.Context(), got, 0); err != nil || string(got) != string(want) {
		s.t.Errorf("%d bytes, %v", len(got), err)
	}
}
