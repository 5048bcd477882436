package keystone

import "time"

// maxPause is the longest time for which Keystone is left alone.
const maxPause = time.Minute

// outage is what is known of a Keystone that does not answer. The zero value: it answers.
type outage struct {
	failures int       // in a row, of those that were a pause apart
	last     time.Time // when the latest of them was
	slow     time.Time // until when tokens that are remembered are not asked about
	down     time.Time // until when nothing is asked
}

// end notes an answer.
func (o *outage) end() { *o = outage{} }

// failed notes that there was no answer; dead says that there will be none for other tokens either. Questions that fail
// side by side count once. Each failure after a pause doubles the next one. It reports whether this one counts.
func (o *outage) failed(now time.Time, pause time.Duration, dead bool) bool {
	if o.failures > 0 && now.Before(o.last.Add(pause)) {
		return false
	}
	wait := maxPause
	if o.failures < 10 {
		wait = min(pause<<o.failures, maxPause)
	}
	o.failures++
	o.last, o.slow, o.down = now, now.Add(wait), time.Time{}
	if dead {
		o.down = o.slow
	}
	return true
}

// probe is called for each question that is asked. After a failure one question finds out whether there are answers
// again, and others do not wait for it.
func (o *outage) probe(now time.Time, timeout time.Duration) {
	if o.failures > 0 {
		o.slow = now.Add(timeout)
		if !o.down.IsZero() {
			o.down = o.slow
		}
	}
}
