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

// page returns the items of one page and the token of the next. all is sorted by key, ascending, or descending when desc;
// wanted, unless nil, says which of them are in the list, and is asked about no more than the page needs. list names the
// list with its filters: a token of another list is refused.
func page[T any](
	all []T, key func(T) string, desc bool, wanted func(T) bool, list string, size int32, pageToken string,
) (found []T, next string, err error) {
	n, err := pageSize(size)
	if err != nil {
		return nil, "", err
	}
	last, err := openToken(list, pageToken)
	if err != nil {
		return nil, "", err
	}
	start := 0
	if pageToken != "" {
		for start < len(all) && (key(all[start]) == last || (key(all[start]) < last) != desc) {
			start++
		}
	}
	for _, item := range all[start:] {
		if wanted != nil && !wanted(item) {
			continue
		}
		if len(found) == n {
			next, err = newToken(list, key(found[n-1]))
			return found, next, err
		}
		found = append(found, item)
	}
	return found, "", nil
}

// pageSize returns how many items a page has.
func pageSize(size int32) (int, error) {
	switch {
	case size < 0:
		return 0, fault.BadField("page_size", "%d is negative; use 0 for the default of %d", size, defaultPage)
	case size == 0:
		return defaultPage, nil
	default:
		return min(int(size), maxPage), nil
	}
}

// openToken returns the key of the last item seen, empty without a token.
func openToken(list, pageToken string) (string, error) {
	if pageToken == "" {
		return "", nil
	}
	var t token
	raw, err := base64.RawURLEncoding.DecodeString(pageToken)
	if err != nil || json.Unmarshal(raw, &t) != nil || t.List != list {
		return "", badToken()
	}
	return t.Last, nil
}

func newToken(list, last string) (string, error) {
	raw, err := json.Marshal(token{List: list, Last: last})
	return base64.RawURLEncoding.EncodeToString(raw), err
}

func badToken() error {
	return fault.BadField("page_token", "is not a token of this list; start again without it")
}
