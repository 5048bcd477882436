package staging

import (
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Unpinned is the Need.PinFrom of a content that the central store has whole.
const Unpinned = manifest.MaxChunks

// Need says who needs the frames of a content. The zero value pins all of them.
type Need struct {
	// Fills is the number of replicas that are still to be filled from this content. While it is not 0 frames stay unless
	// space is short; then those read this many times go first.
	Fills int
	// PinFrom is the number of chunks from the start that the central store has safely: from this chunk on the frames here
	// are the only copy and never evicted. Unpinned when the central store has all of them.
	PinFrom int
	// HasSource tells that a site offers or could offer the content, so that evicted frames can come back at once.
	HasSource bool
}

// SetNeeds replaces what is needed. Call it at every change, and once soon after Open: until then nothing is evicted.
// Contents that are not named have no needs: their frames go after the retention, at once when space is short. There are
// two exceptions, so that a list made before a content was created does no harm: while a content grows it is pinned
// unless it is named, and so is a new content until it has been named once. It does not block on the disk.
func (a *Area) SetNeeds(needs map[image.ID]Need) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	a.told = true
	for id, c := range a.contents {
		need, named := needs[id]
		c.mentioned = c.mentioned || named
		if !named {
			need = Need{PinFrom: Unpinned}
			if c.state == growing || !c.mentioned && !c.recovered {
				need.PinFrom = 0
			}
		}
		if c.need.Fills > 0 && need.Fills == 0 {
			c.idleSince = now
		}
		c.need = need
	}
	a.victims = nil
	a.wakeWaiting()
	notify(a.kick)
}

// pin returns the number of the first pinned chunk.
func (a *Area) pin(c *content) int {
	if !a.told && c.recovered || c.transient {
		return 0
	}
	return c.need.PinFrom // 0 until SetNeeds has seen the content
}

// needed reports whether somebody is filling from the content or has lately waited for it.
func (c *content) needed(now time.Time, linger time.Duration) bool {
	return c.need.Fills > 0 || c.demand.wantedWithin(now, linger)
}

// Info describes one content.
type Info struct {
	ID       image.ID
	Complete bool  // committed and durable; never of a transient content
	Gone     bool  // aborted, waiting to be forgotten
	Chunks   int   // chunks known, zeroes included; 0 while the manifest of a complete content is not in memory
	Frames   int   // frames here
	Bytes    int64 // length of these frames
	Offered  int64 // bytes that came from offering agents since the area was opened
}

// Contents returns all contents in no order. The owner of the catalog forgets those that it does not know.
func (a *Area) Contents() []Info {
	a.mu.Lock()
	defer a.mu.Unlock()
	infos := make([]Info, 0, len(a.contents))
	for _, c := range a.contents {
		info := Info{
			ID: c.id, Complete: c.state == complete && !c.transient, Gone: c.state == gone, Chunks: len(c.digests),
			Frames: len(c.frames), Offered: c.demand.offered,
		}
		for _, f := range c.frames {
			info.Bytes += f.size
		}
		infos = append(infos, info)
	}
	return infos
}

// Usage returns how many bytes the frames take and how many they may.
func (a *Area) Usage() (used, limit int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used, a.o.Limit
}
