package staging

import (
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// spared is what transient contents and those that wait for an import leave free in bytes: room for the frames of what is made
// of them, and for those that sites send.
const spared = 4 * frame.MaxSize

// CreateTransient begins a content that is only there while another one is made of it. It is never made durable and goes
// with the process; until it is forgotten, which is up to the caller, all of it stays. Appends wait for space for
// Options.Patience without any space becoming free anywhere, and fail with Exhausted (ReasonFull) then: those who make
// room may be waiting for each other. At most one gives up in that time. Errors are those of Create.
func (a *Area) CreateTransient(id image.ID) (*Writer, error) { return a.create(id, true) }

// CreateWaiting begins a content that nobody reads until it is imported. Like a transient one it leaves room for what is made of
// it: else imports would wait for space that only imports can free. Errors are those of Create.
func (a *Area) CreateWaiting(id image.ID) (*Writer, error) {
	w, err := a.Create(id)
	if err == nil {
		a.mu.Lock()
		w.c.waits = true
		a.mu.Unlock()
	}
	return w, err
}

// CheckTransient returns Exhausted (ReasonFull) when a transient content of size bytes can never be here.
func (a *Area) CheckTransient(size int64) error {
	if most := a.o.Limit - spared; size > most {
		return fault.New(fault.Exhausted, ReasonFull,
			"the data has %d bytes, and the staging area takes at most %d of data that is converted", size, most)
	}
	return nil
}

// room returns how much of the limit frames of the content may take.
func (a *Area) room(c *content) int64 {
	if c.transient || c.waits {
		return a.o.Limit - spared
	}
	return a.o.Limit
}

// patience is how long a transient content has waited for space.
type patience struct {
	freed int64 // Area.goneBytes at the last look
	since time.Time
}

// left returns how long the content may still wait, or Exhausted when it has to give up. Lock held.
func (a *Area) left(p *patience) (time.Duration, error) {
	now := a.o.Now()
	if p.since.IsZero() || p.freed != a.goneBytes || a.gaveUp.After(p.since) {
		p.since, p.freed = now, a.goneBytes
	}
	rest := a.o.Patience - now.Sub(p.since)
	if rest <= 0 {
		a.gaveUp = now
		return 0, fault.New(fault.Exhausted, ReasonFull,
			"the staging area is full, and no space became free for %s; try again later", a.o.Patience)
	}
	return rest, nil
}
