package ctl

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// layout says which columns fit a terminal, the same for all rows.
type layout struct {
	name, bar         int // widths; no bar if 0
	total, rate, left bool
}

// Widths of the columns: "999 MiB", "999 MiB/s", "59m59s left", "transferring".
const (
	sizeWidth = 7
	rateWidth = 9
	leftWidth = 11
	textWidth = 12
	leastBar  = 10
	mostBar   = 32
)

// plan fits the columns into cols characters. What does not fit is left out: the total, the time left, the rate, at last
// the bar.
func plan(nameWidth, cols int) layout {
	tries := []layout{{total: true, rate: true, left: true}, {rate: true, left: true}, {rate: true}, {}}
	for _, l := range tries {
		l.name = nameWidth
		if room := cols - l.width() - 2; room >= leastBar {
			l.bar = min(room, mostBar)
			return l
		}
	}
	for _, l := range tries {
		if l.name = nameWidth; l.width() <= cols {
			return l
		}
	}
	return layout{name: nameWidth}
}

// width is what the columns take without a bar.
func (l layout) width() int {
	w := l.name + 2 + len("100%") + 2 + sizeWidth + 2 + textWidth
	if l.total {
		w += 3 + sizeWidth
	}
	if l.rate {
		w += rateWidth + 2
	}
	if l.left {
		w += leftWidth + 2
	}
	return w
}

// draw returns a row as one line of at most cols characters.
func (l layout) draw(r row, cols int) string {
	parts := []string{fmt.Sprintf("%-*s", l.name, cut(r.name, l.name))}
	if r.figures {
		parts = append(parts, l.columns(r)...)
	}
	return cut(strings.TrimRight(strings.Join(append(parts, r.text), "  "), " "), cols)
}

// columns returns the figures of a row.
func (l layout) columns(r row) []string {
	share, total := "", ""
	if r.total > 0 {
		share, total = fmt.Sprintf("%d%%", percent(r.done, r.total)), " / "+size(r.total)
	}
	amount := fmt.Sprintf("%*s", sizeWidth, size(r.done))
	if l.total {
		amount += fmt.Sprintf("%-*s", sizeWidth+3, total)
	}
	parts := []string{fmt.Sprintf("%4s", share), amount}
	if l.bar > 0 {
		parts = append([]string{bar(r.done, r.total, l.bar)}, parts...)
	}
	if r.rank == rankWaiting { // no rate to show, but much to say
		return parts
	}
	if l.rate {
		parts = append(parts, fmt.Sprintf("%*s", rateWidth, rate(r.rate)))
	}
	if l.left {
		parts = append(parts, fmt.Sprintf("%-*s", leftWidth, timeLeft(r)))
	}
	return parts
}

// bar returns a bar of the given width, brackets included; an empty one when the total is not known.
func bar(done, total int64, width int) string {
	inner := width - 2
	if total <= 0 {
		return "[" + strings.Repeat(" ", inner) + "]"
	}
	full := int(float64(inner) * float64(min(done, total)) / float64(total))
	if full == inner {
		return "[" + strings.Repeat("=", inner) + "]"
	}
	return "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", inner-full-1) + "]"
}

// percent rounds down: 100 means all of it.
func percent(done, total int64) int {
	if total <= 0 {
		return 0
	}
	return int(float64(min(done, total)) / float64(total) * 100)
}

func rate(bytesPerSecond int64) string {
	if bytesPerSecond <= 0 {
		return ""
	}
	return size(bytesPerSecond) + "/s"
}

// timeLeft is empty when it cannot be told. For a copy only the hub tells it.
func timeLeft(r row) string {
	if r.copy {
		return leftOf(r.left)
	}
	if r.rate <= 0 || r.total <= 0 || r.done >= r.total {
		return ""
	}
	seconds := float64(r.total-r.done) / float64(r.rate)
	if seconds > 99*24*3600 {
		return ""
	}
	return span(time.Duration(seconds*float64(time.Second))) + " left"
}

// leftOf returns a time left; empty for none.
func leftOf(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return span(d) + " left"
}

// cut shortens s to width characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width <= 1 {
		return strings.Repeat("~", max(width, 0))
	}
	return string([]rune(s)[:width-1]) + "~"
}
