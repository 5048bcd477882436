package api

import (
	"encoding/base64"
	"encoding/json"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

const (
	defaultPage = 50
	maxPage     = 1000
)

// token is what a page token says: which list it belongs to and the sort key of the last item seen. It carries no rights.
type token struct {
	List string `json:"l"`
	Last string `json:"k"`
}

// page returns the items of one page and the token of the next. all is sorted by key, ascending, or descending when desc.
// list names the list with its filters: a token of another list is refused.
func page[T any](all []T, key func(T) string, desc bool, list string, size int32, pageToken string) ([]T, string, error) {
	if size < 0 {
		return nil, "", fault.BadField("page_size", "%d is negative; use 0 for the default of %d", size, defaultPage)
	}
	n := int(size)
	if n == 0 {
		n = defaultPage
	}
	n = min(n, maxPage)
	start := 0
	if pageToken != "" {
		var t token
		raw, err := base64.RawURLEncoding.DecodeString(pageToken)
		if err != nil || json.Unmarshal(raw, &t) != nil || t.List != list {
			return nil, "", fault.BadField("page_token", "is not a token of this list; start again without it")
		}
		for start < len(all) && (key(all[start]) == t.Last || (key(all[start]) < t.Last) != desc) {
			start++
		}
	}
	end := min(start+n, len(all))
	out := all[start:end]
	if end == len(all) {
		return out, "", nil
	}
	raw, err := json.Marshal(token{List: list, Last: key(all[end-1])})
	return out, base64.RawURLEncoding.EncodeToString(raw), err
}
