package schedule

import (
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Window is a time of the week with a rate of its own.
type Window struct {
	days  [7]bool // by time.Weekday: days on which it begins
	start int     // minutes after midnight on the clocks of zone
	end   int     // the same; at or before start: on the next day
	zone  *time.Location
	rate  Rate
}

const minutesOfDay = 24 * 60

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWindow reads "DAYS HH:MM-HH:MM [ZONE]=RATE". DAYS are days (Mon) and ranges of days (Fri-Mon), joined by commas, or
// "daily". The time from the first to the second clock is meant, the second not included; 24:00 is midnight at the end of
// the day; a window whose end is at or before its start ends on the next day. ZONE is a name of the IANA time zone database,
// UTC by default. RATE is as in ParseRate. Errors are Invalid and name field.
func ParseWindow(field, s string, least Rate) (Window, error) {
	when, rate, found := strings.Cut(s, "=")
	words := strings.Fields(when)
	if !found || len(words) < 2 || len(words) > 3 {
		return Window{}, fault.BadField(field, "%q is not a window such as \"Mon-Fri 08:00-18:00 Europe/Berlin=20MiB/s\"", s)
	}
	w := Window{zone: time.UTC}
	var err error
	if w.rate, err = ParseRate(field, strings.TrimSpace(rate), least); err != nil {
		return Window{}, err
	}
	if w.days, err = parseDays(field, words[0]); err != nil {
		return Window{}, err
	}
	start, end, found := strings.Cut(words[1], "-")
	var ok, too bool
	if w.start, ok = parseClock(start); ok {
		w.end, too = parseClock(end)
	}
	if !found || !ok || !too || w.start == minutesOfDay {
		return Window{}, fault.BadField(field, "%q is not a time such as 08:00-18:00", words[1])
	}
	if len(words) == 3 {
		if w.zone, err = zone(words[2]); err != nil {
			return Window{}, fault.BadField(field, "the time zone %q is not known", words[2])
		}
	}
	return w, nil
}

// zone returns a time zone; the zone of the machine is none that users can mean.
func zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fault.New(fault.Invalid, "INVALID_FIELD", "no zone")
	}
	return time.LoadLocation(name)
}

func parseDays(field, s string) (days [7]bool, err error) {
	if strings.EqualFold(s, "daily") {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, b := parseDay(first), parseDay(first)
		if ranged {
			b = parseDay(last)
		}
		if a < 0 || b < 0 {
			return days, fault.BadField(field, "%q is not a day or a range of days such as Mon-Fri, nor \"daily\"", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			days[d] = true
			if d == b {
				break
			}
		}
	}
	return days, nil
}

func parseDay(s string) int {
	for i, name := range dayNames {
		if strings.EqualFold(s, name) {
			return i
		}
	}
	return -1
}

// parseClock reads HH:MM, 00:00 to 24:00.
func parseClock(s string) (minutes int, ok bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	digits := [4]int{int(s[0]) - '0', int(s[1]) - '0', int(s[3]) - '0', int(s[4]) - '0'}
	for _, d := range digits {
		if d < 0 || d > 9 {
			return 0, false
		}
	}
	hour, minute := digits[0]*10+digits[1], digits[2]*10+digits[3]
	minutes = hour*60 + minute
	return minutes, minute < 60 && minutes <= minutesOfDay
}

// bounds returns the window that begins on the day of t in its zone, moved by a number of days; ok says whether it begins on
// that day at all. A clock that the change to summer time leaves out counts as the one an hour later; of one that occurs twice the
// first counts.
func (w Window) bounds(t time.Time, days int) (start, end time.Time, ok bool) {
	year, month, day := t.In(w.zone).Date()
	day += days
	if !w.days[time.Date(year, month, day, 12, 0, 0, 0, time.UTC).Weekday()] {
		return time.Time{}, time.Time{}, false
	}
	start = moment(year, month, day, w.start, w.zone)
	if w.end <= w.start {
		day++
	}
	end = moment(year, month, day, w.end, w.zone)
	return start, end, true
}

// moment returns the time at which the clocks of a zone show so many minutes after midnight, the first of two.
func moment(year int, month time.Month, day, minutes int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, minutes, 0, 0, zone)
	if first := t.Add(-time.Hour); first.Hour() == t.Hour() && first.Minute() == t.Minute() {
		return first
	}
	return t
}

// covers reports whether t lies in the window.
func (w Window) covers(t time.Time) bool {
	for _, days := range []int{-1, 0} {
		if start, end, ok := w.bounds(t, days); ok && !t.Before(start) && t.Before(end) {
			return true
		}
	}
	return false
}
