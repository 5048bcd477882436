package clienttest

import (
	"sort"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// page returns a page of the records in the order of their keys. Pages are short so that tests follow them.
func page[M proto.Message](records map[string]M, want func(M) bool, token string) ([]M, string, error) {
	const most = 2
	var keys []string
	for k, m := range records {
		if want(m) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	from := 0
	if token != "" {
		var err error
		if from, err = strconv.Atoi(token); err != nil || from > len(keys) {
			return nil, "", fault.BadField("page_token", "%q is not a token", token)
		}
	}
	to, next := from+most, ""
	if to < len(keys) {
		next = strconv.Itoa(to)
	}
	var items []M
	for _, k := range keys[from:min(to, len(keys))] {
		items = append(items, proto.CloneOf(records[k]))
	}
	return items, next, nil
}
