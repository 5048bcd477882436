package glance

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// TestPatchLocationsRows has a row for each rule about locations in PATCH. URL stands for that of a copy of the image in
// dcn2, HAVE for the one it has in the central store.
func TestPatchLocationsRows(t *testing.T) {
	const none, imported = "queued", "active"
	hash := strings.Repeat("ab", 64)
	tests := []struct {
		name, who, image, patch string
		want                    int
		added                   bool
		removed                 image.StoreID
	}{
		{"add to a queued image", "nova", none, `[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "metadata": {}}}]`, 200, true, ""},
		{"add to an active image", "admin", imported, `[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "metadata": {}}}]`, 200, true, ""},
		{"add in front", "admin", imported, `[{"op": "add", "path": "/locations/0", "value": {"url": "URL", "metadata": {}}}]`, 200, true, ""},
		{
			"add with a digest", "nova", none,
			`[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "metadata": {}, "validation_data": {"os_hash_algo": "sha512", "os_hash_value": "` + hash + `"}}}]`,
			200, true, "",
		},
		{"replace what is empty", "nova", none, `[{"op": "replace", "path": "/locations", "value": [{"url": "URL", "metadata": {}}]}]`, 200, true, ""},
		{"replace by the same", "admin", imported, `[{"op": "replace", "path": "/locations", "value": [{"url": "HAVE", "metadata": {"a": "b"}}]}]`, 200, false, ""},
		{"remove the first", "admin", "two", `[{"op": "remove", "path": "/locations/0"}]`, 200, false, "central"},
		{"remove the second", "admin", "two", `[{"op": "remove", "path": "/locations/1"}]`, 200, false, "dcn1"},
		{"remove the last", "admin", "two", `[{"op": "remove", "path": "/locations/-"}]`, 200, false, "dcn1"},

		{"no position", "nova", none, `[{"op": "add", "path": "/locations", "value": {"url": "URL"}}]`, 400, false, ""},
		{"a bad position", "admin", "two", `[{"op": "remove", "path": "/locations/x"}]`, 400, false, ""},
		{"a negative position", "admin", "two", `[{"op": "remove", "path": "/locations/-1"}]`, 400, false, ""},
		{"replace one", "nova", none, `[{"op": "replace", "path": "/locations/0", "value": {"url": "URL"}}]`, 400, false, ""},
		{"a text", "nova", none, `[{"op": "add", "path": "/locations/-", "value": "URL"}]`, 400, false, ""},
		{"null", "nova", none, `[{"op": "add", "path": "/locations/-", "value": null}]`, 400, false, ""},
		{"no list", "nova", none, `[{"op": "replace", "path": "/locations", "value": {"url": "URL"}}]`, 400, false, ""},
		{"no url", "nova", none, `[{"op": "add", "path": "/locations/-", "value": {"metadata": {}}}]`, 400, false, ""},
		{"a long url", "nova", none, `[{"op": "add", "path": "/locations/-", "value": {"url": "rbd://` + strings.Repeat("x", 255) + `"}}]`, 400, false, ""},
		{"twice the same", "admin", imported, `[{"op": "add", "path": "/locations/-", "value": {"url": "HAVE", "metadata": {}}}]`, 400, false, ""},
		{"replace by another", "admin", imported, `[{"op": "replace", "path": "/locations", "value": [{"url": "URL", "metadata": {}}]}]`, 400, false, ""},
		{"two at once", "nova", none, `[{"op": "replace", "path": "/locations", "value": [{"url": "URL"}, {"url": "rbd://b/p/i/snap"}]}]`, 400, false, ""},
		{
			"with something else", "nova", none,
			`[{"op": "add", "path": "/locations/-", "value": {"url": "URL"}}, {"op": "add", "path": "/a", "value": "1"}]`, 400, false, "",
		},

		{"add by the owner", "alice", none, `[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "metadata": {}}}]`, 403, false, ""},
		{"replace by the owner", "alice", imported, `[{"op": "replace", "path": "/locations", "value": [{"url": "URL"}]}]`, 403, false, ""},
		{"remove by the owner", "alice", "two", `[{"op": "remove", "path": "/locations/0"}]`, 403, false, ""},
		{"remove by a service", "nova", "two", `[{"op": "remove", "path": "/locations/0"}]`, 403, false, ""},
		{"remove the only one", "admin", imported, `[{"op": "remove", "path": "/locations/0"}]`, 403, false, ""},
		{"replace by nothing", "admin", imported, `[{"op": "replace", "path": "/locations", "value": []}]`, 403, false, ""},

		{"others do not see it", "bob", none, `[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "metadata": {}}}]`, 404, false, ""},

		{"add while importing", "admin", "importing", `[{"op": "add", "path": "/locations/-", "value": {"url": "URL"}}]`, 409, false, ""},
		{"remove from a queued image", "admin", none, `[{"op": "remove", "path": "/locations/0"}]`, 409, false, ""},
		{
			"a digest for an active image", "admin", imported,
			`[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "validation_data": {"os_hash_algo": "sha512", "os_hash_value": "` + hash + `"}}}]`,
			409, false, "",
		},
		{
			"another algorithm", "nova", none,
			`[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "validation_data": {"os_hash_algo": "md5", "os_hash_value": "ab"}}}]`, 409, false, "",
		},
		{
			"a digest that is none", "nova", none,
			`[{"op": "add", "path": "/locations/-", "value": {"url": "URL", "validation_data": {"os_hash_algo": "sha512", "os_hash_value": "xy"}}}]`, 409, false, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := defaultAPI(t)
			img, stores := active("p1", storev1.Visibility_VISIBILITY_PRIVATE), []string{"central"}
			switch tt.image {
			case none:
				img.Status, img.Content, stores = queued, nil, nil
			case "importing":
				img.Status, stores = importing, nil
			case "two":
				stores = []string{"central", "dcn1"}
			}
			id := a.put(img, stores...)
			patch := strings.NewReplacer("URL", location4("dcn2", id), "HAVE", location4("central", id)).Replace(tt.patch)
			w := a.do(tt.who, "PATCH", "/v2/images/"+id, patch)
			if w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if got := slices.Equal(a.placed.added, []string{location4("dcn2", id)}); got != tt.added || !tt.added && len(a.placed.added) > 0 {
				t.Errorf("added %v", a.placed.added)
			}
			if tt.removed == "" && len(a.placed.removed) > 0 || tt.removed != "" && !slices.Equal(a.placed.removed, []image.StoreID{tt.removed}) {
				t.Errorf("removed %v", a.placed.removed)
			}
			if tt.name == "add with a digest" && a.placed.expects[0].GetHashValue() != hash {
				t.Errorf("the digest got lost: %v", a.placed.expects)
			}
		})
	}
}

// TestPatchRemovesTheLocationShown removes by the position in the list that the caller sees, which begins at its site.
func TestPatchRemovesTheLocationShown(t *testing.T) {
	a := defaultAPI(t)
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PRIVATE), "central", "dcn1", "dcn2")
	a.want(http.StatusOK, "admin", "PATCH", "/site/dcn2/v2/images/"+id, `[{"op": "remove", "path": "/locations/0"}]`)
	if !slices.Equal(a.placed.removed, []image.StoreID{"dcn2"}) {
		t.Fatalf("removed %v", a.placed.removed)
	}
}
