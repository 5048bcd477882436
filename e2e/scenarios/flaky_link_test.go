package scenarios

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// A link that dies again and again: the copy gets through, and what is sent twice is what was on its way.
func TestLinkThatDies(t *testing.T) {
	t.Parallel()
	l := throttled{lab.NewHubs(t, 1, false)}
	const mib = 1 << 20
	data, _ := lab.Data(96*mib, 96)
	id := l.Import(data, "central")
	l.ctl("site", "limit", "dcn0", "--rate", "8MiB/s")
	before := l.moved()
	op := l.MustCopy(id, "dcn0")
	cuts, done := 0, make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for {
			select {
			case <-time.After(2 * time.Second):
				l.CutLinks()
				cuts++
			case <-done:
				return
			}
		}
	})
	stop := sync.OnceFunc(func() {
		close(done)
		cutter.Wait()
	})
	defer stop()
	l.Succeeds(op)
	stop()
	again := l.moved() - before - float64(96*mib+24*16) // a frame has a header of 16 bytes
	t.Logf("%d cuts, %.1f MiB sent again", cuts, again/mib)
	if cuts < 3 {
		t.Errorf("the link died %d times only", cuts)
	}
	if most := float64(cuts * 8 * mib); again > most { // one frame that moves and one that begins
		t.Errorf("%.0f bytes sent again, at most %.0f were on their way", again, most)
	}
	got, err := os.ReadFile(filepath.Join(l.Store("dcn0"), id, "data"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy differs: %d bytes, %v", len(got), err)
	}
}
