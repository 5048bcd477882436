package ctl

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10189: "10 KiB", 10 << 10: "10 KiB",
		999 << 10: "999 KiB", 1000 << 10: "1.0 MiB", 4 << 30: "4.0 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 1499 * time.Millisecond: "1s", 59 * time.Second: "59s", time.Minute: "1m",
		200 * time.Second: "3m20s", time.Hour: "1h", 125 * time.Minute: "2h5m", 76 * time.Hour: "3d4h", 48 * time.Hour: "2d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x1b[31m\tb\nc\u202ed\u009be\x7f é 日本"); strings.ContainsAny(got, "\x1b\t\n\u202e\u009b\x7f") || !strings.HasSuffix(got, "é 日本") {
		t.Errorf("got %q", got)
	}
}

// TestRowsFit draws rows of any content at any width.
func TestRowsFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cols := rapid.IntRange(0, 300).Draw(t, "cols")
		name := rapid.StringMatching(`[a-z]{0,70}`).Draw(t, "name")
		r := row{
			name: name, figures: rapid.Bool().Draw(t, "figures"), text: rapid.StringMatching(`[a-zé ]{0,90}`).Draw(t, "text"),
			done: rapid.Int64Range(0, 1<<62).Draw(t, "done"), total: rapid.Int64Range(0, 1<<62).Draw(t, "total"),
			rate: rapid.Int64Range(-1, 1<<62).Draw(t, "rate"),
		}
		line := plan(min(len(name), widestName), cols).draw(r, cols)
		if n := len([]rune(line)); n > cols {
			t.Fatalf("%d characters in %d columns: %q", n, cols, line)
		}
	})
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		done, total int64
		want        string
	}{
		{0, 10, "[>         ]"},
		{5, 10, "[=====>    ]"},
		{99, 100, "[=========>]"},
		{10, 10, "[==========]"},
		{20, 10, "[==========]"},
		{5, 0, "[          ]"},
	} {
		if got := bar(tt.done, tt.total, 12); got != tt.want {
			t.Errorf("bar(%d, %d) = %q, want %q", tt.done, tt.total, got, tt.want)
		}
	}
	if percent(999, 1000) != 99 || percent(5, 0) != 0 || percent(7, 5) != 100 {
		t.Error("percent")
	}
}
