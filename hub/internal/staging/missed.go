package staging

import (
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// mostMissed bounds how many contents that are not here the area remembers to have been asked for.
const mostMissed = 256

// miss notes that somebody has asked for a content that is not known here: a site that holds a copy may send its manifest
// again. Lock held.
func (a *Area) miss(id image.ID) {
	_, known := a.missed[id]
	if !known && len(a.missed) >= mostMissed {
		return
	}
	a.missed[id] = a.o.Now()
	if !known {
		notify(a.wants)
	}
}

// found ends the wait for a content. Lock held.
func (a *Area) found(id image.ID) {
	if _, known := a.missed[id]; known {
		delete(a.missed, id)
		notify(a.wants)
	}
}

// collectMissed forgets contents that nobody has asked for lately. Lock held.
func (a *Area) collectMissed(now time.Time) {
	for id, asked := range a.missed {
		if now.Sub(asked) >= a.o.Linger {
			a.found(id)
		}
	}
}
