package glance

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// listTasks lists tasks.
func (s *Server) listTasks(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	if err := s.mayTasks(r); err != nil {
		return err
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.New(fault.Invalid, "INVALID_QUERY", "the query of the URL is not escaped correctly")
	}
	q, err := parseTaskQuery(values)
	if err != nil {
		return err
	}
	found, more, err := q.page(s.matching(q))
	if err != nil {
		return err
	}
	values.Del("marker")
	out := map[string]any{"tasks": found, "schema": "/v2/schemas/tasks", "first": link("/v2/tasks", values)}
	if more {
		values.Set("marker", found[len(found)-1].ID)
		out["next"] = link("/v2/tasks", values)
	}
	return imageapi.WriteJSON(w, http.StatusOK, out)
}

func link(path string, values url.Values) string {
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// taskQuery says which tasks are listed.
type taskQuery struct {
	status, kind, owner string
	marker              string
	limit               int
	less                func(a, b taskStub) int
}

// taskOrders are the keys by which tasks can be sorted.
var taskOrders = map[string]func(taskStub) string{
	"id":         func(t taskStub) string { return t.ID },
	"type":       func(t taskStub) string { return t.Type },
	"status":     func(t taskStub) string { return t.Status },
	"owner":      func(t taskStub) string { return orEmpty(t.Owner) },
	"created_at": func(t taskStub) string { return orEmpty(t.CreatedAt) },
	"updated_at": func(t taskStub) string { return orEmpty(t.UpdatedAt) },
	"expires_at": func(t taskStub) string { return orEmpty(t.ExpiresAt) },
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// parseTaskQuery reads the parameters of a list. Unknown ones are ignored, as the API has always done here.
func parseTaskQuery(v url.Values) (taskQuery, error) {
	q := taskQuery{
		status: v.Get("status"), kind: v.Get("type"), owner: v.Get("owner"), marker: v.Get("marker"), limit: imageapi.DefaultLimit,
	}
	if q.status != "" && !slices.Contains([]string{taskPending, taskProcessing, taskSuccess, taskFailure}, q.status) {
		return q, fault.BadField("status", "must be pending, processing, success or failure")
	}
	if q.kind != "" && !slices.Contains([]string{taskImport, taskAPI, taskLocation}, q.kind) {
		return q, fault.BadField("type", "must be import, api_image_import or location_import")
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, fault.BadField("limit", "must be a whole number that is not negative")
		}
		q.limit = min(n, imageapi.MaxLimit)
	}
	key, dir := cmp.Or(v.Get("sort_key"), "created_at"), cmp.Or(v.Get("sort_dir"), "desc")
	value, sign := taskOrders[key], -1
	switch {
	case value == nil:
		return q, fault.BadField("sort_key", "tasks cannot be sorted by %s", quoted(key))
	case dir == "asc":
		sign = 1
	case dir != "desc":
		return q, fault.BadField("sort_dir", "must be asc or desc")
	}
	q.less = func(a, b taskStub) int {
		return sign * cmp.Or(cmp.Compare(value(a), value(b)), cmp.Compare(orEmpty(a.CreatedAt), orEmpty(b.CreatedAt)), cmp.Compare(a.ID, b.ID))
	}
	return q, nil
}

// matching returns the tasks that pass the filters, sorted.
func (s *Server) matching(q taskQuery) []taskStub {
	found := []taskStub{}
	for _, o := range s.Catalog.Read().Operations() {
		if taskType(o) == "" {
			continue
		}
		t := s.taskStub(o)
		if (q.status == "" || q.status == t.Status) && (q.kind == "" || q.kind == t.Type) && (q.owner == "" || q.owner == orEmpty(t.Owner)) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, q.less)
	return found
}

// page returns the part of the list behind the marker, and whether there may be more.
func (q taskQuery) page(all []taskStub) ([]taskStub, bool, error) {
	if q.marker != "" {
		at := slices.IndexFunc(all, func(t taskStub) bool { return t.ID == q.marker })
		if at < 0 {
			return nil, false, fault.BadField("marker", "no task of this list has the id %s", quoted(q.marker))
		}
		all = all[at+1:]
	}
	found := all[:min(q.limit, len(all))]
	return found, len(found) > 0 && len(found) == q.limit, nil
}
