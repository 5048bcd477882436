package scenarios

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// throttled is a lab with one hub whose copies to dcn0 are limited.
type throttled struct{ *lab.Hubs }

// ctl runs atollctl, which must succeed, and returns what it prints.
func (l throttled) ctl(args ...string) string {
	l.T.Helper()
	out, errs, code := l.Ctl(args...)
	if code != 0 {
		l.T.Fatalf("atollctl %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// moved returns how many bytes of frames have gone over the network.
func (l throttled) moved() float64 { return l.Metric("atoll_hub_frame_bytes_total") }

// speed returns how many bytes per second move in a while, at least and at most: nobody knows when between a question and its
// answer the bytes were counted.
func (l throttled) speed(while time.Duration) (least, most float64) {
	l.T.Helper()
	asked := time.Now()
	from := l.moved()
	begun := time.Now()
	<-time.After(while)
	ended := time.Now()
	bytes := l.moved() - from
	return bytes / time.Since(asked).Seconds(), bytes / ended.Sub(begun).Seconds()
}

// stands waits until nothing moves for two seconds.
func (l throttled) stands(what string) {
	l.T.Helper()
	lab.Eventually(l.T, waitShort, what, func() error {
		if _, most := l.speed(2 * time.Second); most != 0 {
			return fmt.Errorf("%.0f bytes per second move", most)
		}
		return nil
	})
}

// A limit holds, a changed one holds within a second, a paused site gets nothing and resumes where it was.
func TestLimits(t *testing.T) {
	t.Parallel()
	l := throttled{lab.NewHubs(t, 1, false)}
	const mib = 1 << 20
	small, _ := lab.Data(8*mib, 8)
	other := l.Import(small, "dcn0")
	data, _ := lab.Data(240*mib, 240)
	id := l.Import(data, "central")
	before := l.moved()

	l.ctl("site", "limit", "dcn0", "--rate", "4MiB/s")
	op := l.MustCopy(id, "dcn0")
	lab.Eventually(t, waitShort, "data moves", func() error {
		if l.moved() == before {
			return fmt.Errorf("nothing has moved")
		}
		return nil
	})
	// A machine that stands still for a moment moves less, and one that is slow to change a limit more: then the next seconds count.
	within := func(what string, want float64) {
		t.Helper()
		for left := 5; ; left-- {
			least, most := l.speed(3 * time.Second)
			t.Logf("%s: %.1f to %.1f MiB/s", what, least/mib, most/mib)
			if most >= 0.6*want && least <= 1.3*want {
				return
			}
			if left == 0 {
				t.Errorf("%s: %.1f to %.1f MiB/s move, want %.0f MiB/s", what, least/mib, most/mib, want/mib)
				return
			}
		}
	}
	within("limit", 4*mib)
	l.ctl("site", "limit", "dcn0", "--rate", "1MiB/s")
	<-time.After(time.Second)
	within("lower limit", mib)
	// The window goes over the whole day.
	l.ctl("site", "limit", "dcn0", "--window", "daily 00:00-24:00 Europe/Berlin=8MiB/s")
	<-time.After(time.Second)
	within("higher limit of a window", 8*mib)
	if out := l.ctl("site", "show", "dcn0"); !strings.Contains(out, "8MiB/s") || !strings.Contains(out, "Europe/Berlin") {
		t.Errorf("site show: %s", out)
	}

	// What all sites together may move, beside the limit of the site.
	l.ctl("limit", "set", "--rate", "2MiB/s")
	<-time.After(time.Second)
	within("limit of all sites", 2*mib)
	l.ctl("limit", "set", "--rate", "20MiB/s")
	<-time.After(2 * time.Second) // frames that have begun are through
	l.ctl("limit", "set", "--rate", "0")
	stopped := func(r *hubv1.Replica) bool {
		return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_PENDING && r.GetReason() == "SITE_PAUSED"
	}
	l.WaitReplica(id, "dcn0", "waits while all sites are stopped", stopped)
	l.stands("all sites are stopped")
	if out := l.ctl("limit", "show"); !strings.Contains(out, "limit set") {
		t.Errorf("limit show: %s", out)
	}
	l.ctl("limit", "set", "--reset")
	l.WaitReplica(id, "dcn0", "goes on", func(r *hubv1.Replica) bool { return r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING })
	<-time.After(time.Second)
	within("limit of the site again", 8*mib)

	l.ctl("site", "pause", "dcn0")
	l.WaitReplica(id, "dcn0", "waits for its site", stopped)
	l.stands("the site is paused")
	l.ctl("replica", "verify", other, "dcn0")
	l.ctl("replica", "delete", other, "dcn0", "--wait")
	held := l.moved() - before
	if held < 8*mib || held > 230*mib {
		t.Fatalf("paused after %.0f MiB: too early or too late", held/mib)
	}

	l.ctl("site", "limit", "dcn0", "--clear")
	l.ctl("site", "resume", "dcn0")
	l.Succeeds(op)
	sent := l.moved() - before
	want := float64(240*mib + 60*16)
	t.Logf("sent again: %.0f bytes", sent-want)
	// A frame that was on its way when the sites were stopped, which was twice, is cut when it does not come through in a second.
	if sent < want || sent > want+2*(4*mib+16) {
		t.Errorf("%.0f bytes moved, want %.0f: %.0f sent again", sent, want, sent-want)
	}
	got, err := os.ReadFile(filepath.Join(l.Store("dcn0"), id, "data"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy differs: %d bytes, %v", len(got), err)
	}
}
