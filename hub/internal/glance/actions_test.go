package glance

import (
	"net/http"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// TestActionRows has a row for each answer of deactivate and reactivate.
func TestActionRows(t *testing.T) {
	const deactivated = true
	tests := []struct {
		name, who, action, body string
		status                  storev1.ImageStatus
		deactivated             bool
		want                    int
		becomes                 string
	}{
		{"deactivate", "alice", "deactivate", "", ready, false, 204, "deactivated"},
		{"deactivate again", "alice", "deactivate", "", ready, deactivated, 204, "deactivated"},
		{"deactivate by an administrator", "admin", "deactivate", "", ready, false, 204, "deactivated"},
		{"reactivate", "alice", "reactivate", "", ready, deactivated, 204, "active"},
		{"reactivate what is active", "alice", "reactivate", "", ready, false, 204, "active"},
		{"with a body", "alice", "deactivate", "{}", ready, false, 400, "active"},
		{"without a token", "mallory", "deactivate", "", ready, false, 401, "active"},
		{"by a reader", "ann", "deactivate", "", ready, false, 403, "active"},
		{"by others", "bob", "deactivate", "", ready, false, 403, "active"},
		{"by others: reactivate", "bob", "reactivate", "", ready, deactivated, 403, "deactivated"},
		{"a queued image", "alice", "deactivate", "", queued, false, 403, "queued"},
		{"a queued image: reactivate", "alice", "reactivate", "", queued, false, 403, "queued"},
		{"an importing image", "alice", "deactivate", "", importing, false, 403, "importing"},
		{"an uploading image", "alice", "deactivate", "", uploading, false, 403, "uploading"},
		{"an image that is being deleted", "alice", "deactivate", "", deleting, false, 403, "pending_delete"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := defaultAPI(t)
			img := active("p1", storev1.Visibility_VISIBILITY_PUBLIC)
			img.Status, img.Deactivated = tt.status, tt.deactivated
			id := a.put(img, "central")
			if w := a.do(tt.who, "POST", "/v2/images/"+id+"/actions/"+tt.action, tt.body); w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, ""); w.json["status"] != tt.becomes {
				t.Errorf("became %v, want %s", w.json["status"], tt.becomes)
			}
		})
	}
}

func TestActionsOnWhatOneCannotSee(t *testing.T) {
	a := defaultAPI(t)
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PRIVATE), "central")
	for _, action := range []string{"deactivate", "reactivate"} {
		a.want(http.StatusNotFound, "bob", "POST", "/v2/images/"+id+"/actions/"+action, "")
		a.want(http.StatusNotFound, "bob", "POST", "/v2/images/"+someID+"/actions/"+action, "")
		a.want(http.StatusMethodNotAllowed, "alice", "GET", "/v2/images/"+id+"/actions/"+action, "")
	}
	a.want(http.StatusNotFound, "alice", "POST", "/v2/images/"+id+"/actions/explode", "")
}

func TestActionsByPolicy(t *testing.T) {
	a := newAPI(t, catalog.DefaultLimits(), rules(t, `"deactivate": "role:admin"`))
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PRIVATE), "central")
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images/"+id+"/actions/deactivate", "")
	a.want(http.StatusNoContent, "admin", "POST", "/v2/images/"+id+"/actions/deactivate", "")
	a.want(http.StatusNoContent, "alice", "POST", "/v2/images/"+id+"/actions/reactivate", "")
}
