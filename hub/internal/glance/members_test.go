package glance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

func TestMembersLife(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{}`)
	path := "/v2/images/" + id + "/members"
	w := a.want(http.StatusOK, "alice", "POST", path, `{"member": "p2"}`)
	wantKeys(t, w, `{"member_id": "p2", "image_id": "`+id+`", "status": "pending", "created_at": "2026-03-01T12:00:02Z",
		"updated_at": "2026-03-01T12:00:02Z", "schema": "/v2/schemas/member"}`)
	w = a.want(http.StatusOK, "bob", "PUT", path+"/p2", `{"status": "accepted"}`)
	if w.json["status"] != "accepted" || w.json["updated_at"] == w.json["created_at"] {
		t.Errorf("got %s", w.Body)
	}
	a.want(http.StatusOK, "alice", "POST", path, `{"member": "p3"}`)
	if w = a.want(http.StatusOK, "alice", "GET", path, ""); len(list(w, "members")) != 2 || w.json["schema"] != "/v2/schemas/members" {
		t.Errorf("the owner sees %s", w.Body)
	}
	if w = a.want(http.StatusOK, "bob", "GET", path, ""); len(list(w, "members")) != 1 {
		t.Errorf("a member sees %s", w.Body)
	}
	a.want(http.StatusOK, "bob", "GET", path+"/p2", "")
	a.want(http.StatusNotFound, "bob", "GET", path+"/p3", "")
	a.want(http.StatusNoContent, "alice", "DELETE", path+"/p2", "")
	a.want(http.StatusNotFound, "alice", "DELETE", path+"/p2", "")
	a.want(http.StatusNotFound, "bob", "GET", "/v2/images/"+id, "")
}

// list returns a list in an answer.
func list(w answer, name string) []any {
	items, _ := w.json[name].([]any)
	return items
}

// TestMemberRows has a row for each answer about members. The image belongs to alice's project and is shared with bob's;
// "private", "community" and "public" are images of alice's project with the member too, but with that visibility.
func TestMemberRows(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, who, method, image, path, body string
		want                                 int
	}{
		{"add", "alice", "POST", "shared", "", `{"member": "p9"}`, 200},
		{"add by an administrator", "admin", "POST", "shared", "", `{"member": "p9"}`, 200},
		{"add nothing", "alice", "POST", "shared", "", `{}`, 400},
		{"add without a body", "alice", "POST", "shared", "", ``, 400},
		{"add an empty name", "alice", "POST", "shared", "", `{"member": ""}`, 400},
		{"add a number", "alice", "POST", "shared", "", `{"member": 1}`, 400},
		{"add null", "alice", "POST", "shared", "", `{"member": null}`, 400},
		{"add a list", "alice", "POST", "shared", "", `["p9"]`, 400},
		{"add a long name", "alice", "POST", "shared", "", `{"member": "` + long + `"}`, 400},
		{"add by a reader", "ann", "POST", "shared", "", `{"member": "p9"}`, 403},
		{"add by a member", "bob", "POST", "shared", "", `{"member": "p9"}`, 403},
		{"add to a private image", "alice", "POST", "private", "", `{"member": "p9"}`, 403},
		{"add to a community image", "alice", "POST", "community", "", `{"member": "p9"}`, 403},
		{"add to a public image", "admin", "POST", "public", "", `{"member": "p9"}`, 403},
		{"add by others", "carol", "POST", "shared", "", `{"member": "p3"}`, 404},
		{"add to nothing", "alice", "POST", someID, "", `{"member": "p9"}`, 404},
		{"add twice", "alice", "POST", "shared", "", `{"member": "p2"}`, 409},

		{"accept", "bob", "PUT", "shared", "/p2", `{"status": "accepted"}`, 200},
		{"reject", "bob", "PUT", "shared", "/p2", `{"status": "rejected"}`, 200},
		{"wait", "bob", "PUT", "shared", "/p2", `{"status": "pending"}`, 200},
		{"accept by an administrator", "admin", "PUT", "shared", "/p2", `{"status": "accepted"}`, 200},
		{"an unknown status", "bob", "PUT", "shared", "/p2", `{"status": "maybe"}`, 400},
		{"no status", "bob", "PUT", "shared", "/p2", `{}`, 400},
		{"a number as status", "bob", "PUT", "shared", "/p2", `{"status": 1}`, 400},
		{"accept by the owner", "alice", "PUT", "shared", "/p2", `{"status": "accepted"}`, 403},
		{"accept a private image", "admin", "PUT", "private", "/p2", `{"status": "accepted"}`, 403},
		{"accept for another member", "bob", "PUT", "shared", "/p4", `{"status": "accepted"}`, 404},
		{"accept for who is no member", "admin", "PUT", "shared", "/p9", `{"status": "accepted"}`, 404},
		{"accept by others", "carol", "PUT", "shared", "/p3", `{"status": "accepted"}`, 404},

		{"show", "bob", "GET", "shared", "/p2", ``, 200},
		{"show who is no member", "alice", "GET", "shared", "/p9", ``, 404},
		{"show by others", "carol", "GET", "shared", "/p2", ``, 404},
		{"list", "alice", "GET", "shared", "", ``, 200},
		{"list of a private image", "alice", "GET", "private", "", ``, 403},
		{"list by others", "carol", "GET", "shared", "", ``, 404},

		{"remove", "alice", "DELETE", "shared", "/p2", ``, 204},
		{"remove with a body", "alice", "DELETE", "shared", "/p2", `{}`, 400},
		{"remove by the member", "bob", "DELETE", "shared", "/p2", ``, 403},
		{"remove by a reader", "ann", "DELETE", "shared", "/p2", ``, 403},
		{"remove from a private image", "alice", "DELETE", "private", "/p2", ``, 403},
		{"remove who is no member", "alice", "DELETE", "shared", "/p9", ``, 404},
		{"remove by others", "carol", "DELETE", "shared", "/p2", ``, 404},

		{"no such method", "alice", "PATCH", "shared", "", `[]`, 405},
		{"no such method for one", "alice", "POST", "shared", "/p2", `{}`, 405},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := defaultAPI(t)
			id := tt.image
			if id != someID {
				id = a.create("alice", `{}`)
				for _, member := range []string{"p2", "p4"} {
					a.want(http.StatusOK, "alice", "POST", "/v2/images/"+id+"/members", `{"member": "`+member+`"}`)
				}
				a.want(http.StatusOK, "admin", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/visibility", "value": "`+tt.image+`"}]`)
			}
			w := a.do(tt.who, tt.method, "/v2/images/"+id+"/members"+tt.path, tt.body)
			if w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" {
				t.Error("no Allow")
			}
		})
	}
}

func TestMemberQuota(t *testing.T) {
	a := newAPI(t, catalog.Limits{Members: 2}, policy.Options{})
	id := a.create("alice", `{}`)
	for i, want := range []int{200, 200, 413} {
		a.want(want, "alice", "POST", "/v2/images/"+id+"/members", fmt.Sprintf(`{"member": "m%d"}`, i))
	}
}

func TestSharingIsNoChangeOfTheImage(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{}`)
	before := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, "")
	a.want(http.StatusOK, "alice", "POST", "/v2/images/"+id+"/members", `{"member": "p2"}`)
	if after := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, ""); after.Body.String() != before.Body.String() {
		t.Fatalf("before %s, after %s", before.Body, after.Body)
	}
}
