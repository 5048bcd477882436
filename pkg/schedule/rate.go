// Package schedule says how fast data may move at which time: a rate, and time windows with rates of their own.
package schedule

import (
	"math"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Rate is a number of bytes per second; 0 means that nothing moves.
type Rate int64

// Unlimited is the rate of what has no limit.
const Unlimited Rate = -1

// units are those that users may write, the longer before those they end with.
var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"kB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"kbit", 1e3 / 8},
	{"Mbit", 1e6 / 8},
	{"Gbit", 1e9 / 8},
	{"B", 1},
	{"", 1},
}

// mostRate is the highest rate that can be written, 1 TiB/s.
const mostRate = 1 << 40

// ParseRate reads "unlimited", "0", or a number with a unit of KiB/s, MiB/s, GiB/s, kB/s, MB/s, GB/s, kbit/s, Mbit/s,
// Gbit/s or B/s; "/s" may be left out. A rate below least that is not 0 is refused, and so is one above 1 TiB/s. Errors are
// Invalid and name field.
func ParseRate(field, s string, least Rate) (Rate, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	text := strings.TrimSuffix(s, "/s")
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(n) || n < 0 || n*u.bytes > mostRate {
			break
		}
		r := Rate(n * u.bytes)
		return r, r.Check(field, least)
	}
	return 0, fault.BadField(field, `%q is not a rate such as 20MiB/s, 100Mbit/s, "unlimited" or 0`, s)
}

// Check returns an Invalid error that names field unless the rate is Unlimited, 0, or from least to 1 TiB/s.
func (r Rate) Check(field string, least Rate) error {
	if r != Unlimited && r != 0 && r < least || r > mostRate {
		return fault.BadField(field, "must be 0 or from %s to %s", least, Rate(mostRate))
	}
	return nil
}

// String returns the rate as ParseRate reads it.
func (r Rate) String() string {
	switch {
	case r == Unlimited:
		return "unlimited"
	case r == 0:
		return "0"
	case r%(1<<30) == 0:
		return strconv.FormatInt(int64(r)>>30, 10) + "GiB/s"
	case r%(1<<20) == 0:
		return strconv.FormatInt(int64(r)>>20, 10) + "MiB/s"
	case r%(1<<10) == 0:
		return strconv.FormatInt(int64(r)>>10, 10) + "KiB/s"
	default:
		return strconv.FormatInt(int64(r), 10) + "B/s"
	}
}

// Lower returns the lower one of two rates.
func Lower(a, b Rate) Rate {
	switch {
	case a == Unlimited:
		return b
	case b == Unlimited:
		return a
	default:
		return min(a, b)
	}
}
