package imageapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// byteRange is a part of an image's data.
type byteRange struct{ offset, length int64 }

// unsatisfiable is the answer to a range that is malformed or lies outside the data.
type unsatisfiable struct {
	error
	size int64
}

// Unwrap returns the error itself.
func (u *unsatisfiable) Unwrap() error { return u.error }

// Header adds how much data there is.
func (u *unsatisfiable) Header(h http.Header) {
	h.Set("Content-Range", "bytes */"+strconv.FormatInt(u.size, 10))
}

func badRange(size int64, format string, args ...any) error {
	return &unsatisfiable{size: size, error: Status(fault.New(fault.Invalid, "INVALID_RANGE", format, args...),
		http.StatusRequestedRangeNotSatisfiable)}
}

// parseRange returns the part of size bytes that the headers ask for; whole says that they ask for no part. An old client
// asks with the header Content-Range.
func parseRange(h http.Header, size int64) (part byteRange, whole bool, err error) {
	if text := h.Get("Range"); text != "" {
		part, err = parseModern(text, size)
		return part, false, err
	}
	if text := h.Get("Content-Range"); text != "" {
		part, err = parseLegacy(text, size)
		return part, false, err
	}
	return byteRange{0, size}, true, nil
}

// parseModern reads "bytes=1-5", "bytes=5-" and "bytes=-5".
func parseModern(text string, size int64) (byteRange, error) {
	if strings.Contains(text, ",") {
		return byteRange{}, fault.New(fault.Invalid, "MULTIPLE_RANGES", "Requests with multiple ranges are not supported.")
	}
	unit, ends, ok := strings.Cut(text, "=")
	first, last, dash := strings.Cut(ends, "-")
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if !ok || !dash || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || first == "" && last == "" {
		return byteRange{}, badRange(size, "Invalid Range header.")
	}
	if first == "" {
		n, ok := digits(last)
		if !ok || n == 0 || size == 0 {
			return byteRange{}, badRange(size, "Invalid Range header.")
		}
		n = min(n, size)
		return byteRange{size - n, n}, nil
	}
	return span(first, last, size)
}

// parseLegacy reads "bytes 1-5/10" and "bytes 1-5/*".
func parseLegacy(text string, size int64) (byteRange, error) {
	ends, ok := strings.CutPrefix(text, "bytes ")
	ends, total, slash := strings.Cut(ends, "/")
	first, last, dash := strings.Cut(ends, "-")
	if _, number := digits(total); !ok || !slash || !dash || total != "*" && !number || last == "" {
		return byteRange{}, badRange(size, "Invalid Content-Range header.")
	}
	return span(strings.TrimSpace(first), strings.TrimSpace(last), size)
}

// span returns the part from first to last, which is included; an empty last is the end of the data.
func span(first, last string, size int64) (byteRange, error) {
	from, ok := digits(first)
	to := size - 1
	if ok && last != "" {
		to, ok = digits(last)
	}
	if !ok || last != "" && to < from {
		return byteRange{}, badRange(size, "Invalid range.")
	}
	if from >= size {
		return byteRange{}, badRange(size, "Invalid start position of the range: the data has %d bytes.", size)
	}
	to = min(to, size-1)
	return byteRange{from, to - from + 1}, nil
}

// digits parses a number of digits only. One that is too large is the largest there is.
func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
