package ctl

import "testing"

func TestLimitVerbs(t *testing.T) {
	h := furnish(t)
	const window = "Mon-Fri 08:00-18:00 Europe/Berlin=20MiB/s"
	out := atollctl(t, h, exitOK, "limit", "set", "--rate", "1Gbit/s", "--window", window).out.String()
	has(t, out, "125000000B/s", window, "limit set")
	if h.Limits.GetBytesPerSecond() != 125_000_000 || len(h.Limits.GetWindows()) != 1 {
		t.Errorf("limits %v", h.Limits)
	}
	has(t, atollctl(t, h, exitOK, "limit", "show", "-o", "json").out.String(), `"stored": true`, window)
	atollctl(t, h, exitOK, "limit", "set", "--rate", "0")
	if h.Limits.BytesPerSecond == nil || *h.Limits.BytesPerSecond != 0 {
		t.Errorf("limits %v", h.Limits)
	}
	atollctl(t, h, exitOK, "limit", "set", "--clear")
	if h.Limits.BytesPerSecond != nil || !h.Limits.Stored {
		t.Errorf("limits %v", h.Limits)
	}
	has(t, atollctl(t, h, exitOK, "limit", "set", "--reset").out.String(), "the flags of the hub", "unlimited")
	has(t, atollctl(t, h, exitUsage, "limit", "set").err.String(), "--rate")
	has(t, atollctl(t, h, exitUsage, "limit", "set", "--rate", "fast").err.String(), "--rate", "fast")
	for _, other := range []string{"--rate=0", "--clear", "--window=x"} {
		atollctl(t, h, exitUsage, "limit", "set", "--reset", other)
	}
}
