package ctl

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// size returns bytes for people: 999 B, 1.5 KiB, 20 GiB.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, exp := float64(n), -1
	for v >= unit && exp < 5 {
		v /= unit
		exp++
	}
	if v >= 999.5 && exp < 5 { // four digits tell nothing more
		v /= unit
		exp++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[exp])
	}
	return fmt.Sprintf("%.0f %ciB", v, "KMGTPE"[exp])
}

// span returns a duration for people, two units at most: 4s, 3m20s, 2h5m, 3d4h.
func span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return join(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return join(d, time.Hour, "h", time.Minute, "m")
	default:
		return join(d, day, "d", time.Hour, "h")
	}
}

func join(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d%s", d/big, bigName)
	if rest := d % big / small; rest > 0 {
		s += fmt.Sprintf("%d%s", rest, smallName)
	}
	return s
}

// age returns how long ago t was; empty when absent.
func (c *cli) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return span(c.env.Now().Sub(t.AsTime()))
}

// when returns t in full and its age; empty when absent.
func (c *cli) when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	text := t.AsTime().UTC().Format("2006-01-02 15:04:05 UTC")
	if d := t.AsTime().Sub(c.env.Now()); d > 0 {
		return text + " (in " + span(d) + ")"
	}
	return text + " (" + c.age(t) + " ago)"
}

// word returns an enum value in lower case without its prefix: IMAGE_STATUS_ACTIVE becomes active.
func word(value fmt.Stringer, prefix string) string {
	s := strings.TrimPrefix(value.String(), prefix)
	if s == "UNSPECIFIED" {
		return ""
	}
	return strings.ToLower(strings.ReplaceAll(s, "_", "-"))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// few joins at most three names and counts the rest.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ",")
	}
	return fmt.Sprintf("%s,+%d", strings.Join(names[:most], ","), len(names)-most)
}
