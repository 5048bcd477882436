package qcow2

import "context"

// step is what the sink gets next: zeroes, a window, or the end of everything.
type step struct {
	zero   int64
	window *window
	err    error
}

// assembler cuts the layout of the disk into steps. Windows without any data become zeroes, as many as there are in one step.
type assembler struct {
	ctx     context.Context
	size    int64 // of the disk
	cluster int64
	free    <-chan *window
	fill    chan<- *window
	steps   chan<- step

	pos  int64   // of the disk: what has been laid out
	sent int64   // of the disk: what is in steps
	open *window // being laid out
}

// hole takes n bytes of zeroes.
func (a *assembler) hole(n int64) { a.pos += n }

// plain takes n bytes that are at an offset of the source.
func (a *assembler) plain(n, host int64) error {
	for n > 0 {
		if err := a.reach(); err != nil {
			return err
		}
		at := a.pos - a.open.start
		part := min(n, windowSize-at)
		a.open.add(segment{at: int(at), n: int(part), host: host})
		a.pos, host, n = a.pos+part, host+part, n-part
	}
	return nil
}

// packed takes a compressed cluster.
func (a *assembler) packed(n, host, length int64) error {
	if err := a.reach(); err != nil {
		return err
	}
	a.open.add(segment{at: int(a.pos - a.open.start), n: int(a.cluster), host: host, packed: length})
	a.pos += n
	return nil
}

// reach opens the window that the position is in.
func (a *assembler) reach() error {
	start := a.pos / windowSize * windowSize
	if a.open != nil && a.open.start == start {
		return nil
	}
	if err := a.flush(start); err != nil {
		return err
	}
	select {
	case a.open = <-a.free:
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
	a.open.start, a.open.n, a.open.segments = start, int(min(windowSize, a.size-start)), a.open.segments[:0]
	return nil
}

// flush sends the open window, and zeroes from there to an offset of the disk.
func (a *assembler) flush(until int64) error {
	if w := a.open; w != nil {
		a.open = nil
		select {
		case a.fill <- w:
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
		if err := a.send(step{window: w}); err != nil {
			return err
		}
		a.sent = w.start + int64(w.n)
	}
	if until == a.sent {
		return nil
	}
	zero := until - a.sent
	a.sent = until
	return a.send(step{zero: zero})
}

// send hands a step to the writer.
func (a *assembler) send(s step) error {
	select {
	case a.steps <- s:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}
