package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

const least = 64 << 10

func parse(t *testing.T, rate Rate, windows ...string) Schedule {
	t.Helper()
	s, err := New("windows", rate, windows, least)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// at parses a time; zones have their own clocks.
func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02 15:04 -0700", s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Rate{
		"0": 0, "unlimited": Unlimited, "20MiB/s": 20 << 20, "20MiB": 20 << 20, "1.5GiB/s": 3 << 29, "64KiB/s": 64 << 10,
		"100Mbit/s": 12_500_000, "1Gbit/s": 125_000_000, "1000kbit/s": 125_000, "5MB/s": 5_000_000, "70kB/s": 70_000, "1GB": 1e9,
		"65536": 65536, "65536B/s": 65536, "1 MiB/s": 1 << 20, "0MiB/s": 0,
	} {
		if got, err := ParseRate("rate", s, least); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "fast", "-1", "-1MiB/s", "1", "63KiB/s", "NaN", "Inf", "+InfMiB/s", "2000GiB/s", "1e30", "MiB/s", "20MiB/h", "20 mib"} {
		if got, err := ParseRate("rate", s, least); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "rate") {
			t.Errorf("%q: got %d, %v", s, got, err)
		}
	}
	for _, r := range []Rate{0, Unlimited, 64 << 10, 12_500_000, 20 << 20, 1 << 30} {
		if got, err := ParseRate("rate", r.String(), least); err != nil || got != r {
			t.Errorf("%s: got %d, %v", r, got, err)
		}
	}
}

func TestLower(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]Rate{{1, 2, 1}, {Unlimited, 2, 2}, {2, Unlimited, 2}, {0, 5, 0}, {Unlimited, Unlimited, Unlimited}, {Unlimited, 0, 0}} {
		if got := Lower(c[0], c[1]); got != c[2] {
			t.Errorf("%v: got %v", c, got)
		}
	}
}

// Bad windows are refused with an error that names the field and what is wrong.
func TestBadWindows(t *testing.T) {
	t.Parallel()
	for s, text := range map[string]string{
		"":                                    "not a window",
		"Mon 08:00-18:00":                     "not a window",
		"08:00-18:00=1MiB/s":                  "not a window",
		"Mon 08:00-18:00 UTC extra=1MiB/s":    "not a window",
		"Moon 08:00-18:00=1MiB/s":             "Moon",
		"Mon-Fry 08:00-18:00=1MiB/s":          "Mon-Fry",
		"Mon,,Tue 08:00-18:00=1MiB/s":         "day",
		"Mon 8:00-18:00=1MiB/s":               "8:00-18:00",
		"Mon 08:00=1MiB/s":                    "08:00",
		"Mon 08:60-18:00=1MiB/s":              "08:60",
		"Mon 24:00-18:00=1MiB/s":              "24:00",
		"Mon 08:00-24:01=1MiB/s":              "24:01",
		"Mon 08:00-1x:00=1MiB/s":              "1x:00",
		"Mon 08:00-18:00 Europe/Berln=1MiB/s": "Europe/Berln",
		"Mon 08:00-18:00 Local=1MiB/s":        "Local",
		"Mon 08:00-18:00 ../etc=1MiB/s":       "../etc",
		"Mon 08:00-18:00=1KiB/s":              "64KiB/s",
		"Mon 08:00-18:00=slow":                "slow",
	} {
		_, err := New("limits.windows", Unlimited, []string{"daily 00:00-01:00=0", s}, least)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "limits.windows[1]") || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v", s, err)
		}
	}
	if _, err := New("w", 0, make([]string, MaxWindows+1), least); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many: got %v", err)
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	const low, high = 1 << 20, 2 << 20
	office := "Mon-Fri 08:00-18:00 Europe/Berlin=1MiB/s"
	for name, c := range map[string]struct {
		windows []string
		now     string
		want    Rate
		until   string // empty: never
	}{
		"no window":                  {nil, "2026-01-05 09:00 +0000", Unlimited, ""},
		"before":                     {[]string{office}, "2026-01-05 07:59 +0100", Unlimited, "2026-01-05 08:00 +0100"},
		"begins":                     {[]string{office}, "2026-01-05 08:00 +0100", low, "2026-01-05 18:00 +0100"},
		"ends":                       {[]string{office}, "2026-01-05 18:00 +0100", Unlimited, "2026-01-06 08:00 +0100"},
		"weekend":                    {[]string{office}, "2026-01-10 12:00 +0100", Unlimited, "2026-01-12 08:00 +0100"},
		"summer":                     {[]string{office}, "2026-07-06 06:30 +0000", low, "2026-07-06 16:00 +0000"},
		"over midnight, evening":     {[]string{"Fri 22:00-06:00=1MiB/s"}, "2026-01-09 23:00 +0000", low, "2026-01-10 06:00 +0000"},
		"over midnight, morning":     {[]string{"Fri 22:00-06:00=1MiB/s"}, "2026-01-10 05:59 +0000", low, "2026-01-10 06:00 +0000"},
		"over midnight, not that":    {[]string{"Fri 22:00-06:00=1MiB/s"}, "2026-01-09 05:00 +0000", Unlimited, "2026-01-09 22:00 +0000"},
		"next week":                  {[]string{"Fri 22:00-23:00=1MiB/s"}, "2026-01-09 23:00 +0000", Unlimited, "2026-01-16 22:00 +0000"},
		"to the end of the day":      {[]string{"Sat,Sun 00:00-24:00=0"}, "2026-01-10 13:00 +0000", 0, "2026-01-12 00:00 +0000"},
		"range over the week's end":  {[]string{"Sat-Mon 00:00-24:00=0"}, "2026-01-10 13:00 +0000", 0, "2026-01-13 00:00 +0000"},
		"always":                     {[]string{"daily 00:00-24:00=1MiB/s"}, "2026-01-10 13:00 +0000", low, ""},
		"whole day from noon":        {[]string{"daily 12:00-12:00=1MiB/s"}, "2026-01-10 11:00 +0000", low, ""},
		"first decides":              {[]string{"Mon 10:00-11:00=2MiB/s", office}, "2026-01-05 09:30 +0000", low, "2026-01-05 10:00 +0000"},
		"first decides, within":      {[]string{"Mon 10:00-11:00=2MiB/s", office}, "2026-01-05 10:30 +0000", high, "2026-01-05 11:00 +0000"},
		"the same rate goes on":      {[]string{"Mon 08:00-12:00=1MiB/s", "Mon 12:00-14:00=1MiB/s"}, "2026-01-05 09:00 +0000", low, "2026-01-05 14:00 +0000"},
		"unlimited within":           {[]string{"daily 01:00-05:00=unlimited", "daily 00:00-24:00=0"}, "2026-01-05 02:00 +0000", Unlimited, "2026-01-05 05:00 +0000"},
		"day of the zone":            {[]string{"Mon 00:00-01:00 Pacific/Auckland=0"}, "2026-01-04 11:30 +0000", 0, "2026-01-04 12:00 +0000"},
		"clocks go forward, within":  {[]string{"Sun 01:00-04:00 Europe/Berlin=0"}, "2026-03-29 00:30 +0000", 0, "2026-03-29 02:00 +0000"},
		"clocks go back, within":     {[]string{"Sun 01:00-04:00 Europe/Berlin=0"}, "2026-10-25 00:30 +0000", 0, "2026-10-25 03:00 +0000"},
		"start that is left out":     {[]string{"Sun 02:30-04:00 Europe/Berlin=0"}, "2026-03-29 01:29 +0000", Unlimited, "2026-03-29 01:30 +0000"},
		"end that is left out":       {[]string{"Sun 01:00-02:30 Europe/Berlin=0"}, "2026-03-29 00:59 +0000", 0, "2026-03-29 01:30 +0000"},
		"start that comes twice":     {[]string{"Sun 02:30-04:00 Europe/Berlin=0"}, "2026-10-25 00:30 +0000", 0, "2026-10-25 03:00 +0000"},
		"night when clocks go back":  {[]string{"Sat 22:00-06:00 Europe/Berlin=0"}, "2026-10-25 04:30 +0000", 0, "2026-10-25 05:00 +0000"},
		"night when they go forward": {[]string{"Sat 22:00-06:00 Europe/Berlin=0"}, "2026-03-29 04:00 +0000", Unlimited, "2026-04-04 20:00 +0000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rate, until := parse(t, Unlimited, c.windows...).At(at(t, c.now))
			var want time.Time
			if c.until != "" {
				want = at(t, c.until)
			}
			if rate != c.want || !until.Equal(want) {
				t.Fatalf("got %s until %s, want %s until %s", rate, until.UTC(), c.want, want.UTC())
			}
		})
	}
}

// Nothing changes before the time that At names, and at that time it does.
func TestAtNamesTheNextChange(t *testing.T) {
	t.Parallel()
	s := parse(t, 1<<20, "Mon-Fri 08:00-18:00 Europe/Berlin=0", "daily 22:15-06:45 America/New_York=2MiB/s", "Sun 00:00-24:00 Asia/Kolkata=unlimited")
	end := at(t, "2026-11-05 00:00 +0000")
	for now := at(t, "2026-10-20 00:00 +0000"); now.Before(end); {
		rate, until := s.At(now)
		if until.IsZero() {
			t.Fatal("the schedule stands still")
		}
		for probe := now; probe.Before(until); probe = probe.Add(5 * time.Minute) {
			if got, _ := s.At(probe); got != rate {
				t.Fatalf("%s at %s, though %s from %s until %s", got, probe, rate, now, until)
			}
		}
		if got, _ := s.At(until); got == rate {
			t.Fatalf("still %s at %s", got, until)
		}
		now = until
	}
}
