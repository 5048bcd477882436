package ctl

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/atoll-dcn/atoll/pkg/client"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

const (
	paintEvery  = 200 * time.Millisecond // at most this often
	repaintIdle = time.Second            // at least this often, for the times shown
	plainEvery  = 5 * time.Second        // between summary lines when there is no terminal
	rateWindow  = 5 * time.Second
	widestName  = 24
)

// progress shows how an operation gets on: as lines that are redrawn on a terminal, else as a line for each news and a
// summary every few seconds. Its methods may be called from several goroutines.
type progress struct {
	w    io.Writer
	size func() (cols, rows int, ok bool)
	now  func() time.Time

	mu        sync.Mutex
	op        *hubv1.Operation
	sent      int64  // bytes that this program has sent or received
	total     int64  // bytes that it will have; 0 when unknown
	name      string // of the row about these bytes
	sending   string // what this program does with the bytes; empty when it does nothing
	remark    string
	meter     meter // of the source
	disk      meter // of the disk that is made of it
	dirty     bool
	painted   time.Time
	height    int               // lines on the terminal that are ours
	told      map[string]string // phase last told, by row
	summaryAt time.Time

	stop    chan struct{}
	stopped sync.WaitGroup
}

// newProgress returns a progress that draws by itself until close.
func (c *cli) newProgress() *progress {
	p := &progress{
		w: c.env.Stderr, now: c.env.Now, told: map[string]string{}, stop: make(chan struct{}),
		size: func() (int, int, bool) { return c.env.Size(c.env.Stderr) },
	}
	p.summaryAt = p.now().Add(plainEvery)
	p.stopped.Go(func() {
		t := time.NewTicker(paintEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.tick(false)
			case <-p.stop:
				p.tick(true)
				return
			}
		}
	})
	return p
}

// close draws the final state, leaves it on the screen and returns when nothing more will be written.
func (p *progress) close() {
	close(p.stop)
	p.stopped.Wait()
}

func (p *progress) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.dirty = true
}

// update takes a new state of the operation.
func (p *progress) update(op *hubv1.Operation) {
	p.change(func() { p.op, p.remark = op, "" })
}

// bytes takes how much this program has sent or received, and under which name to show it; total is 0 when unknown.
func (p *progress) bytes(name, doing string, done, total int64) {
	p.change(func() { p.name, p.sending, p.sent, p.total = name, doing, done, total })
}

// uploaded takes the news that nothing more will be sent; from now on the operation tells what the hub has.
func (p *progress) uploaded() {
	p.change(func() { p.sending = "" })
}

// lost takes the news that the hub does not answer.
func (p *progress) lost(error) {
	p.change(func() { p.remark = "the hub does not answer, trying again; what has been started goes on" })
}

// rows returns what to show now. The caller holds mu.
func (p *progress) rows() []row {
	now := p.now()
	var rows []row
	importing := p.op.GetKind() == hubv1.OperationKind_OPERATION_KIND_IMPORT
	switch done, total := p.op.GetSourceBytesDone(), p.op.GetSourceBytesTotal(); {
	case p.sending != "":
		p.meter.add(now, p.sent)
		rows = append(rows, sourceRow(p.name, p.sending, p.sent, p.total, p.meter.rate(), p.total > 0 && p.sent >= p.total))
	case importing && (done > 0 || total > 0):
		p.meter.add(now, done)
		complete := total > 0 && done >= total || p.op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED
		rows = append(rows, sourceRow("source", "reading", done, total, p.meter.rate(), complete))
	}
	if done, total := p.op.GetDiskBytesDone(), p.op.GetDiskBytesTotal(); importing && total > 0 {
		p.disk.add(now, done)
		rows = append(rows, sourceRow("disk", "converting", done, total, p.disk.rate(), done >= total))
	}
	for _, s := range p.op.GetStores() {
		rows = append(rows, storeRow(p.op.GetKind(), s, now))
	}
	for i := range rows {
		rows[i].name, rows[i].text, rows[i].phase = clean(rows[i].name), clean(rows[i].text), clean(rows[i].phase)
	}
	return rows
}

// tick draws if there is something new to draw.
func (p *progress) tick(last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	cols, height, terminal := p.size()
	if !terminal {
		p.tell(now, last)
		return
	}
	if p.dirty || last || now.Sub(p.painted) >= repaintIdle {
		p.paint(cols, height, last)
		p.dirty, p.painted = false, now
	}
}

// paint replaces the lines drawn before. A line never reaches the last column, or some terminals would wrap it, and there
// are never more lines than the screen has, or the cursor could not go back to the first. The last picture shows all.
func (p *progress) paint(cols, height int, last bool) {
	rows, hidden := p.rows(), 0
	if !last {
		rows, hidden = fit(rows, max(height-2, 1))
	}
	nameWidth := 0
	for _, r := range rows {
		nameWidth = max(nameWidth, utf8.RuneCountInString(r.name))
	}
	l := plan(min(nameWidth, widestName), cols-1)
	out := make([]string, 0, len(rows)+2)
	for _, r := range rows {
		out = append(out, l.draw(r, cols-1))
	}
	if hidden > 0 {
		out = append(out, cut(fmt.Sprintf("and %d more", hidden), cols-1))
	}
	if p.remark != "" && !last {
		out = append(out, cut(p.remark, cols-1))
	}
	var b strings.Builder
	b.WriteByte('\r')
	if p.height > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.height)
	}
	for _, line := range out {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	p.height = len(out)
	_, _ = io.WriteString(p.w, b.String())
}

// tell writes one line for each row whose phase is new, and now and then a summary of what moves.
func (p *progress) tell(now time.Time, last bool) {
	var b strings.Builder
	var moving []string
	for _, r := range p.rows() {
		if p.told[r.name] != r.phase {
			p.told[r.name] = r.phase
			b.WriteString(r.plain() + "\n")
		} else if r.rank <= rankWaiting && r.rank != rankFailed {
			moving = append(moving, r.plain())
		}
	}
	if p.told[""] != p.remark { // the empty name is the remark's: no row has it
		p.told[""] = p.remark
		if p.remark != "" {
			b.WriteString(p.remark + "\n")
		}
	}
	if !now.Before(p.summaryAt) {
		p.summaryAt = now.Add(plainEvery)
		if len(moving) > 0 && !last {
			b.WriteString(strings.Join(moving, "; ") + "\n")
		}
	}
	if b.Len() > 0 {
		_, _ = io.WriteString(p.w, b.String())
	}
}

// follower returns what feeds the progress from a followed operation.
func (p *progress) follower() client.Follower {
	return client.Follower{Update: p.update, Lost: p.lost}
}

// meter measures a rate over the last few seconds.
type meter struct{ samples []sample }

type sample struct {
	at    time.Time
	bytes int64
}

func (m *meter) add(at time.Time, bytes int64) {
	for len(m.samples) > 1 && at.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
	m.samples = append(m.samples, sample{at, bytes})
}

// rate returns bytes per second; 0 while it cannot be told.
func (m *meter) rate() int64 {
	if len(m.samples) == 0 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	d := last.at.Sub(first.at)
	if d < time.Second/2 {
		return 0
	}
	return int64(float64(last.bytes-first.bytes) / d.Seconds())
}
