package outside

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// identity tells whether the data of two answers is the same.
type identity struct {
	etag     string // strong ones only
	modified string
	size     int64 // -1 when not said
	ranges   bool  // whether the source can begin in the middle
}

// identify returns what an answer with all of the data says of it.
func identify(resp *http.Response) identity {
	id := identity{size: resp.ContentLength, ranges: !strings.EqualFold(resp.Header.Get("Accept-Ranges"), "none")}
	if tag := resp.Header.Get("Etag"); len(tag) > 2 && tag[0] == '"' { // not W/, which promises less than the same bytes
		id.etag = tag
	}
	id.modified = lastModified(resp)
	return id
}

// lastModified returns the time of the last change when that was long enough ago for another change in the same second to be
// out of the question.
func lastModified(resp *http.Response) string {
	text := resp.Header.Get("Last-Modified")
	changed, err := http.ParseTime(text)
	if err != nil {
		return ""
	}
	answered, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || answered.Sub(changed) < time.Minute {
		return ""
	}
	return text
}

// validator returns what a request for the rest names, empty when nothing guards it.
func (id identity) validator() string {
	if id.etag != "" {
		return id.etag
	}
	return id.modified
}

// differs reports whether what another answer says proves that its data is another. size is of all the data there, -1 when
// not said.
func (id identity) differs(resp *http.Response, size int64) bool {
	tag, modified := resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")
	return id.size >= 0 && size >= 0 && id.size != size ||
		id.etag != "" && tag != "" && tag != id.etag ||
		id.modified != "" && modified != "" && modified != id.modified
}

// contentRange reads the header Content-Range of an answer with a part: its first and its last byte, -1 when the answer has no
// part, and the size of all the data, -1 when the source does not know it.
func contentRange(text string) (from, last, size int64, ok bool) {
	span, total, found := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	if !found || !strings.HasPrefix(text, "bytes ") {
		return 0, 0, 0, false
	}
	from, last, size = -1, -1, -1
	if total != "*" {
		if size, ok = number(total); !ok {
			return 0, 0, 0, false
		}
	}
	if span != "*" {
		first, end, _ := strings.Cut(span, "-")
		if from, ok = number(first); !ok {
			return 0, 0, 0, false
		}
		if last, ok = number(end); !ok || last < from {
			return 0, 0, 0, false
		}
	}
	return from, last, size, true
}

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}
