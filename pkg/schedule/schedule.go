package schedule

import (
	"fmt"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// MaxWindows is the most windows of one schedule.
const MaxWindows = 32

// Schedule is a rate, and windows of which the first that covers a time decides instead.
type Schedule struct {
	Rate    Rate
	Windows []Window
}

// Always is the schedule of what never has a limit.
var Always = Schedule{Rate: Unlimited}

// New returns a schedule of windows as ParseWindow reads them. Errors are Invalid and name field and, of several windows, the
// place in the list.
func New(field string, rate Rate, windows []string, least Rate) (Schedule, error) {
	s := Schedule{Rate: rate}
	if len(windows) > MaxWindows {
		return s, fault.BadField(field, "at most %d windows are possible", MaxWindows)
	}
	for i, text := range windows {
		name := field
		if len(windows) > 1 {
			name = fmt.Sprintf("%s[%d]", field, i)
		}
		w, err := ParseWindow(name, text, least)
		if err != nil {
			return s, err
		}
		s.Windows = append(s.Windows, w)
	}
	return s, nil
}

// At returns the rate at a time, and the first time after it at which the rate is another one; zero when there is none within
// eight days, which is never.
func (s Schedule) At(t time.Time) (rate Rate, until time.Time) {
	rate = s.at(t)
	for _, w := range s.Windows {
		for days := -1; days <= 8; days++ {
			start, end, ok := w.bounds(t, days)
			if !ok {
				continue
			}
			for _, edge := range []time.Time{start, end} {
				if edge.After(t) && (until.IsZero() || edge.Before(until)) && s.at(edge) != rate {
					until = edge
				}
			}
		}
	}
	return rate, until
}

func (s Schedule) at(t time.Time) Rate {
	for _, w := range s.Windows {
		if w.covers(t) {
			return w.rate
		}
	}
	return s.Rate
}
