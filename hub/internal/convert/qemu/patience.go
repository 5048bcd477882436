package qemu

import (
	"sync"
	"time"
)

// patience runs out when qemu-img has had its time, in which what it waits for the hub does not count: a conversion may have to
// wait for hours until a slow site has made room.
type patience struct {
	mu    sync.Mutex
	left  time.Duration
	since time.Time
	calls int // of the hub that are not over
	timer *time.Timer
}

// begin starts the time. out is called when it has run out.
func begin(most time.Duration, out func()) *patience {
	return &patience{left: most, since: time.Now(), timer: time.AfterFunc(most, out)}
}

// enter says that qemu-img waits for the hub from now on, until leave.
func (p *patience) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls++; p.calls == 1 {
		p.timer.Stop()
		p.left -= time.Since(p.since)
	}
}

func (p *patience) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls--; p.calls == 0 {
		p.since = time.Now()
		p.timer.Reset(max(0, p.left))
	}
}

// end stops the time.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++ // no leave starts it again
	p.timer.Stop()
}
