package replica

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/rbdtest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// verified asks for a verification and returns its outcome.
func (s *site) verified(c *fakeContent, generation, verify uint64) *agentv1.ObservedReplica {
	s.t.Helper()
	d := c.describe(goalOf(goalPresent, generation, conA))
	d.VerifyGeneration = verify
	s.delta(d)
	k := string(img1) + "@" + st0
	s.until("verification", func() bool {
		return s.view[k].GetGeneration() == generation && s.view[k].GetVerification().GetGeneration() == verify
	})
	return s.view[k]
}

// spoil changes a byte of the published copy behind everybody's back, as a bad disk would.
func (s *site) spoil(off int64) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dirs[st0], string(img1), "data"), os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		s.t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, off); err != nil {
		s.t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	s, c := published(t, "dzzp")
	r := s.verified(c, 1, 1)
	if v := r.Verification; v.ChunksDamaged != 0 || v.Failure != nil || v.Time == nil || r.State != isPresent {
		t.Errorf("verification of a sound copy: %v", r)
	}
	s.spoil(7)
	s.spoil(8 << 20) // in a chunk of zeroes
	if r := s.verified(c, 1, 2); r.Verification.ChunksDamaged != 2 || r.State != isPresent {
		t.Errorf("verification of a damaged copy: %v", r)
	}
	reads := s.pools[st0].Calls(rbdtest.OpReadAt)
	s.delta(c.describe(goalOf(goalPresent, 2, conA)))
	s.await(isPresent, 2)
	if n := s.pools[st0].Calls(rbdtest.OpReadAt); n != reads {
		t.Error("a copy was read although nobody asked")
	}
}

// The outcome of the latest verification outlives the agent, so that a restart does not read all copies again.
func TestVerificationIsRemembered(t *testing.T) {
	s, c := published(t, "dp")
	s.spoil(7)
	s.verified(c, 1, 5)
	s.stop()
	s.begin()
	if r := s.verified(c, 1, 5); r.Verification.ChunksDamaged != 1 {
		t.Errorf("verification after a restart: %v", r.Verification)
	}
	if n := s.pools[st0].Calls(rbdtest.OpReadAt); n > 0 {
		t.Errorf("%d reads for a verification that was done", n)
	}
	s.spoil(7)
	if r := s.verified(c, 1, 6); r.Verification.ChunksDamaged != 0 {
		t.Errorf("verification after the repair: %v", r.Verification)
	}
}

func TestVerificationThatFails(t *testing.T) {
	s, c := published(t, "dp")
	s.pools[st0].Fail(rbdtest.OpExtents, 1, fault.New(fault.Unavailable, "STORE_UNREACHABLE", "down"))
	if v := s.verified(c, 1, 1).Verification; v.Failure.GetReason() != "STORE_UNREACHABLE" {
		t.Errorf("verification %v", v)
	}
	s.hub.change(func() { s.hub.contents = nil })
	if err := os.RemoveAll(s.sums); err != nil { // with what is kept the hub is not asked
		t.Fatal(err)
	}
	if v := s.verified(c, 1, 2).Verification; v.Failure.GetReason() != "CONTENT_UNKNOWN" {
		t.Errorf("verification %v", v)
	}
}

// What has been kept of a copy is enough to verify it: nothing moves over the link, and the hub need not know the content any more.
func TestVerificationAtTheSiteAlone(t *testing.T) {
	for _, how := range []string{VerifyChecksums, VerifyRead} {
		t.Run(how, func(t *testing.T) {
			hub := newFakeHub(t)
			c := hub.add(conA, pattern(40, "dzzp"))
			s := newSite(t, hub)
			s.verify = how
			s.begin()
			s.delta(c.describe(goalOf(goalPresent, 1, conA)))
			s.await(isPresent, 1)
			hub.change(func() { hub.contents = nil })
			if v := s.verified(c, 1, 1).Verification; v.ChunksDamaged != 0 || v.Failure != nil {
				t.Errorf("sound copy: %v", v)
			}
			s.spoil(7)
			if v := s.verified(c, 1, 2).Verification; v.ChunksDamaged != 1 || v.Failure != nil {
				t.Errorf("damaged copy: %v", v)
			}
		})
	}
}

// A new goal stops a verification at once.
func TestVerificationIsInterrupted(t *testing.T) {
	s, c := published(t, "dp")
	gate := s.pools[st0].Block(rbdtest.OpSum)
	defer gate.Release()
	d := c.describe(goalOf(goalPresent, 1, conA))
	d.VerifyGeneration = 1
	s.delta(d)
	s.entered(gate)
	s.delta(goalOf(goalAbsent, 2, conA))
	s.await(isAbsent, 2)
	s.tidy("")
}

func TestVerifiedMetadata(t *testing.T) {
	for _, s := range []string{"", "1", "1 2", "x 2 3", "1 x 3", "1 2 x", "1 2 3 4", "-1 2 3"} {
		if v := parseVerified(s); v != nil {
			t.Errorf("%q: %v", s, v)
		}
	}
	v := parseVerified("7 1700000000 3")
	if v.GetGeneration() != 7 || v.GetChunksDamaged() != 3 || formatVerified(v) != "7 1700000000 3" {
		t.Errorf("%v", v)
	}
}
