package imageapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// pair is one parameter of a query.
type pair struct{ key, value string }

// query is what a list of images was asked for.
type query struct {
	pairs        []pair // all of them, in order, for the links
	limit        int
	marker       string
	hasMarker    bool
	visibility   string // empty: the default
	memberStatus string
	tags         []string
	order        []order
	filters      []filter
	properties   []string // that filters look at
}

// badQuery returns the error of a query that cannot be answered.
func badQuery(format string, args ...any) error {
	return fault.New(fault.Invalid, "INVALID_QUERY", format, args...)
}

// parsePairs splits a query into its parameters.
func parsePairs(raw string) ([]pair, error) {
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if len(pairs) == maxQueryPairs {
			return nil, badQuery("The query may have at most %d parameters.", maxQueryPairs)
		}
		key, value, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(key)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, badQuery("The query is not escaped correctly.")
		}
		pairs = append(pairs, pair{key, value})
	}
	return pairs, nil
}

// parseQuery reads the query of a list.
func parseQuery(raw string) (*query, error) {
	pairs, err := parsePairs(raw)
	if err != nil {
		return nil, err
	}
	q := &query{pairs: pairs, limit: DefaultLimit, memberStatus: "accepted"}
	var s sorting
	single := map[string]string{} // of parameters given several times the last counts
	var keys []string
	for _, p := range pairs {
		switch p.key {
		case "tag":
			q.tags = append(q.tags, strings.TrimSpace(p.value))
		case "sort_key":
			s.keys = append(s.keys, strings.TrimSpace(p.value))
		case "sort_dir":
			s.dirs = append(s.dirs, strings.TrimSpace(p.value))
		default:
			if _, ok := single[p.key]; !ok {
				keys = append(keys, p.key)
			}
			single[p.key] = p.value
		}
	}
	if text, ok := single["sort"]; ok {
		s.compact, s.text = true, text
	}
	if q.order, err = s.parse(); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := q.set(key, single[key]); err != nil {
			return nil, err
		}
	}
	if _, ok := single["os_hidden"]; !ok {
		q.filters = append(q.filters, func(img *Image) bool { return !img.Hidden })
	}
	return q, nil
}

// set takes one parameter in.
func (q *query) set(key, value string) error {
	switch key {
	case "sort":
	case "limit":
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return badQuery("limit param must be an integer")
		}
		if n < 0 {
			return badQuery("limit param must be positive")
		}
		q.limit = min(n, MaxLimit)
	case "marker":
		q.marker, q.hasMarker = value, true
	case "visibility":
		if value != "" && !slices.Contains([]string{"public", "private", "shared", "community", "all"}, value) {
			return badQuery("Invalid visibility value: %s", clip(value))
		}
		q.visibility = value
	case "member_status":
		if !slices.Contains([]string{"pending", "accepted", "rejected", "all"}, value) {
			return badQuery("Invalid status: %s", clip(value))
		}
		q.memberStatus = value
	case "changes-since":
		return badQuery("The \"changes-since\" filter is no longer available on v2.")
	default:
		f, err := parseFilter(key, value)
		if err != nil {
			return err
		}
		if f == nil {
			q.properties = append(q.properties, key)
			f = propertyFilter(key, value)
		}
		q.filters = append(q.filters, f)
	}
	return nil
}

// link returns the path of a page: all parameters but the marker, and the marker given, if any.
func (q *query) link(marker string) string {
	var b strings.Builder
	b.WriteString("/v2/images")
	mark := byte('?')
	add := func(key, value string) {
		b.WriteByte(mark)
		b.WriteString(url.QueryEscape(key))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(value))
		mark = '&'
	}
	for _, p := range q.pairs {
		if p.key != "marker" {
			add(p.key, p.value)
		}
	}
	if marker != "" {
		add("marker", marker)
	}
	return b.String()
}

// matches reports whether the image passes all filters.
func (q *query) matches(img *Image) bool {
	for _, f := range q.filters {
		if !f(img) {
			return false
		}
	}
	for _, tag := range q.tags {
		if !slices.Contains(img.Tags, tag) {
			return false
		}
	}
	return true
}
