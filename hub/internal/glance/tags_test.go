package glance

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// TestTagRows has a row for each answer about tags. The image belongs to alice's project, is public and has the tag "old".
func TestTagRows(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, who, method, tag, body string
		want                         int
		tags                         []any
	}{
		{"add", "alice", "PUT", "new", "", 204, []any{"new", "old"}},
		{"add again", "alice", "PUT", "old", "", 204, []any{"old"}},
		{"add with a space and a slash", "alice", "PUT", "a%20b%2Fc", "", 204, []any{"a b/c", "old"}},
		{"add by an administrator", "admin", "PUT", "new", "", 204, []any{"new", "old"}},
		{"add a long one", "alice", "PUT", long, "", 400, []any{"old"}},
		{"add with a body", "alice", "PUT", "new", "{}", 400, []any{"old"}},
		{"add what is not UTF-8", "alice", "PUT", "%ff", "", 400, []any{"old"}},
		{"add by a reader", "ann", "PUT", "new", "", 403, []any{"old"}},
		{"add by others", "bob", "PUT", "new", "", 403, []any{"old"}},
		{"add without a token", "mallory", "PUT", "new", "", 401, []any{"old"}},
		{"remove", "alice", "DELETE", "old", "", 204, []any{}},
		{"remove what is not there", "alice", "DELETE", "new", "", 404, []any{"old"}},
		{"remove with a body", "alice", "DELETE", "old", "{}", 400, []any{"old"}},
		{"remove by others", "bob", "DELETE", "old", "", 403, []any{"old"}},
		{"get", "alice", "GET", "old", "", 405, []any{"old"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := defaultAPI(t)
			id := a.create("admin", `{"owner": "p1", "visibility": "public", "tags": ["old"]}`)
			if w := a.do(tt.who, tt.method, "/v2/images/"+id+"/tags/"+tt.tag, tt.body); w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, ""); !reflect.DeepEqual(w.json["tags"], tt.tags) {
				t.Errorf("tags %v, want %v", w.json["tags"], tt.tags)
			}
		})
	}
}

func TestTagsOfWhatOneCannotSee(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{"visibility": "private", "tags": ["old"]}`)
	a.want(http.StatusNotFound, "bob", "PUT", "/v2/images/"+id+"/tags/new", "")
	a.want(http.StatusNotFound, "bob", "DELETE", "/v2/images/"+id+"/tags/old", "")
	a.want(http.StatusNotFound, "alice", "PUT", "/v2/images/"+someID+"/tags/new", "")
}

func TestTagQuota(t *testing.T) {
	a := newAPI(t, catalog.Limits{Tags: 2}, policy.Options{})
	id := a.create("alice", `{"tags": ["a", "b"]}`)
	a.want(http.StatusRequestEntityTooLarge, "alice", "PUT", "/v2/images/"+id+"/tags/c", "")
	a.want(http.StatusNoContent, "alice", "PUT", "/v2/images/"+id+"/tags/b", "")
	a.want(http.StatusNoContent, "alice", "DELETE", "/v2/images/"+id+"/tags/b", "")
	a.want(http.StatusNoContent, "alice", "PUT", "/v2/images/"+id+"/tags/c", "")
}
