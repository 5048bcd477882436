package staging

import (
	"errors"
	"io/fs"
	"os"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Forget removes all of a content, its manifest too. Readers and a Writer get Precondition (manifest.ReasonGone); the
// Writer must still be aborted, which then removes the files. Forgetting an unknown content does nothing. It blocks while
// files are removed.
func (a *Area) Forget(id image.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.contents[id]
	if c == nil {
		return
	}
	if c.state != gone {
		a.lose(c, fault.New(fault.Precondition, manifest.ReasonGone, "content %s was removed", id))
		if !c.writing {
			a.forgetFiles(c)
		}
	}
	if !c.writing {
		delete(a.contents, id)
	}
}

// lose marks a content as gone and wakes all who wait for it. Lock held.
func (a *Area) lose(c *content, cause error) {
	c.state, c.cause, c.touched = gone, cause, a.o.Now()
	c.digests, c.end = nil, nil
	for index, w := range c.demand.wanted {
		delete(c.demand.wanted, index)
		close(w.arrived)
	}
	clear(c.demand.ahead)
	c.changed()
	c.demand.wake()
	a.wakeWaiting()
	a.checkWanted(c)
}

// forgetFiles removes the files of a content that is gone. Lock held, released meanwhile.
func (a *Area) forgetFiles(c *content) {
	// The manifest goes first: without it the content counts as never committed should the process end here.
	a.mu.Unlock()
	err := os.Remove(c.manifestPath())
	a.mu.Lock()
	for _, f := range c.frames {
		for f.dying {
			freed := a.freed
			a.mu.Unlock()
			<-freed
			a.mu.Lock()
		}
		if c.frames[f.index] == f {
			a.remove(f, causeForgotten)
		}
	}
	for _, done := range c.arriving {
		a.mu.Unlock()
		<-done
		a.mu.Lock()
	}
	a.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, os.RemoveAll(c.dir))
	a.mu.Lock()
	if err != nil {
		a.o.Log.Error("cannot remove content", "content", c.id, "error", err)
	}
	for index, f := range c.frames { // what the disk refused to remove has gone with the directory, or never will
		delete(c.frames, index)
		if f.holds == 0 {
			a.free(f.size)
		} else {
			f.dropped = true
		}
	}
	a.wakeWaiting()
}
