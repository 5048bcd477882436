package glance

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// draft4 is the header of a patch in the old form.
var draft4 = []string{"Content-Type", imageapi.PatchV20}

// TestPatchRows has a row for each rule of PATCH. Each starts with a queued image of alice's project with the property
// os_distro; shows are keys that the answer has then.
func TestPatchRows(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, who, patch string
		headers          []string
		want             int
		shows            map[string]any
	}{
		{name: "nothing", patch: `[]`, want: 200},
		{name: "add a property", patch: `[{"op": "add", "path": "/a", "value": "1"}]`, want: 200, shows: map[string]any{"a": "1"}},
		{
			name: "add what is there", patch: `[{"op": "add", "path": "/os_distro", "value": "1"}]`, want: 200,
			shows: map[string]any{"os_distro": "1"},
		},
		{
			name: "replace a property", patch: `[{"op": "replace", "path": "/os_distro", "value": ""}]`, want: 200,
			shows: map[string]any{"os_distro": ""},
		},
		{name: "remove a property", patch: `[{"op": "remove", "path": "/os_distro"}]`, want: 200, shows: map[string]any{"os_distro": nil}},
		{
			name: "in order", want: 200, shows: map[string]any{"a": nil, "b": "3"},
			patch: `[{"op": "add", "path": "/a", "value": "1"}, {"op": "add", "path": "/b", "value": "2"},
				{"op": "remove", "path": "/a"}, {"op": "replace", "path": "/b", "value": "3"}]`,
		},
		{
			name: "every attribute", want: 200,
			patch: `[{"op": "replace", "path": "/name", "value": "new"}, {"op": "add", "path": "/protected", "value": true},
				{"op": "replace", "path": "/os_hidden", "value": true}, {"op": "replace", "path": "/min_disk", "value": 1},
				{"op": "replace", "path": "/min_ram", "value": 2}, {"op": "replace", "path": "/tags", "value": ["b", "a"]},
				{"op": "replace", "path": "/visibility", "value": "private"}, {"op": "replace", "path": "/disk_format", "value": "iso"},
				{"op": "replace", "path": "/container_format", "value": "ovf"}]`,
			shows: map[string]any{
				"name": "new", "protected": true, "os_hidden": true, "min_disk": 1.0, "min_ram": 2.0, "tags": []any{"a", "b"},
				"visibility": "private", "disk_format": "iso", "container_format": "ovf",
			},
		},
		{
			name: "null", patch: `[{"op": "replace", "path": "/name", "value": null}, {"op": "replace", "path": "/disk_format", "value": null}]`,
			want: 200, shows: map[string]any{"name": nil, "disk_format": nil},
		},
		{name: "escapes", patch: `[{"op": "add", "path": "/a~1b~0c", "value": "1"}]`, want: 200, shows: map[string]any{"a/b~c": "1"}},
		{name: "community", patch: `[{"op": "replace", "path": "/visibility", "value": "community"}]`, want: 200},
		{name: "owner by admin", who: "admin", patch: `[{"op": "replace", "path": "/owner", "value": "p2"}]`, want: 200, shows: map[string]any{"owner": "p2"}},
		{name: "public by admin", who: "admin", patch: `[{"op": "replace", "path": "/visibility", "value": "public"}]`, want: 200},
		{name: "old form: nothing", patch: `[]`, headers: draft4, want: 200},
		{
			name: "old form", headers: draft4, want: 200, shows: map[string]any{"a": "1", "name": "n", "os_distro": nil},
			patch: `[{"add": "/a", "value": "1"}, {"replace": "/name", "value": "n"}, {"remove": "/os_distro"}]`,
		},

		{name: "no body", patch: ``, want: 400},
		{name: "not JSON", patch: `[`, want: 400},
		{name: "an object", patch: `{"op": "add", "path": "/a", "value": "1"}`, want: 400},
		{name: "a list of texts", patch: `["a"]`, want: 400},
		{name: "a list of nothing", patch: `[null]`, want: 400},
		{name: "no op", patch: `[{"path": "/a", "value": "1"}]`, want: 400},
		{name: "no path", patch: `[{"op": "add", "value": "1"}]`, want: 400},
		{name: "no value", patch: `[{"op": "add", "path": "/a"}]`, want: 400},
		{name: "move", patch: `[{"op": "move", "path": "/a", "from": "/os_distro"}]`, want: 400},
		{name: "copy", patch: `[{"op": "copy", "path": "/a", "from": "/os_distro"}]`, want: 400},
		{name: "test", patch: `[{"op": "test", "path": "/os_distro", "value": "1"}]`, want: 400},
		{name: "no slash", patch: `[{"op": "add", "path": "a", "value": "1"}]`, want: 400},
		{name: "two slashes", patch: `[{"op": "add", "path": "//a", "value": "1"}]`, want: 400},
		{name: "trailing slash", patch: `[{"op": "add", "path": "/a/", "value": "1"}]`, want: 400},
		{name: "bad escape", patch: `[{"op": "add", "path": "/a~2", "value": "1"}]`, want: 400},
		{name: "too deep", patch: `[{"op": "add", "path": "/a/b", "value": "1"}]`, want: 400},
		{name: "one tag", patch: `[{"op": "add", "path": "/tags/-", "value": "a"}]`, want: 400},
		{name: "old form: no op", patch: `[{"value": "1"}]`, headers: draft4, want: 400},
		{name: "old form: two ops", patch: `[{"add": "/a", "remove": "/os_distro", "value": "1"}]`, headers: draft4, want: 400},
		{name: "old form: new form", patch: `[{"op": "add", "path": "/a", "value": "1"}]`, headers: draft4, want: 400},
		{name: "a number as property", patch: `[{"op": "add", "path": "/a", "value": 1}]`, want: 400},
		{name: "null as property", patch: `[{"op": "add", "path": "/a", "value": null}]`, want: 400},
		{name: "a long name of a property", patch: `[{"op": "add", "path": "/` + long + `", "value": "1"}]`, want: 400},
		{name: "a long name", patch: `[{"op": "replace", "path": "/name", "value": "` + long + `"}]`, want: 400},
		{name: "a negative size", patch: `[{"op": "replace", "path": "/min_disk", "value": -1}]`, want: 400},
		{name: "a size too large", patch: `[{"op": "replace", "path": "/min_ram", "value": 2147483648}]`, want: 400},
		{name: "an unknown visibility", patch: `[{"op": "replace", "path": "/visibility", "value": "x"}]`, want: 400},
		{name: "an unknown format", patch: `[{"op": "replace", "path": "/disk_format", "value": "x"}]`, want: 400},
		{name: "protected by text", patch: `[{"op": "replace", "path": "/protected", "value": "True"}]`, want: 400},
		{name: "bad UTF-8", patch: "[{\"op\": \"replace\", \"path\": \"/name\", \"value\": \"\xff\"}]", want: 400},
		{name: "bad even if the image is not there", patch: `[{"op": "add"}]`, who: "bob", want: 400},

		{name: "no token", who: "mallory", patch: `[]`, want: 401},

		{name: "a reader", who: "ann", patch: `[{"op": "replace", "path": "/name", "value": "x"}]`, want: 403},
		{name: "remove an attribute", patch: `[{"op": "remove", "path": "/name"}]`, want: 403},
		{name: "remove tags", patch: `[{"op": "remove", "path": "/tags"}]`, want: 403},
		{name: "owner by its project", patch: `[{"op": "replace", "path": "/owner", "value": "p2"}]`, want: 403},
		{name: "add the owner", patch: `[{"op": "add", "path": "/owner", "value": "p2"}]`, want: 403},
		{name: "owner to nobody", patch: `[{"op": "replace", "path": "/owner", "value": null}]`, want: 403},
		{name: "public", patch: `[{"op": "replace", "path": "/visibility", "value": "public"}]`, want: 403},
		{name: "location", patch: `[{"op": "add", "path": "/location", "value": "x"}]`, want: 403},
		{name: "deleted", patch: `[{"op": "add", "path": "/deleted", "value": "x"}]`, want: 403},
		{name: "deleted_at", patch: `[{"op": "remove", "path": "/deleted_at"}]`, want: 403},
		{name: "add os_glance", patch: `[{"op": "add", "path": "/os_glance_foo", "value": "x"}]`, want: 403},
		{name: "remove os_glance", who: "admin", patch: `[{"op": "remove", "path": "/os_glance_import_task"}]`, want: 403},

		{name: "others do not see it", who: "bob", patch: `[{"op": "replace", "path": "/name", "value": "x"}]`, want: 404},
		{name: "others do not see it, with nothing to do", who: "bob", patch: `[]`, want: 404},

		{name: "replace what is missing", patch: `[{"op": "replace", "path": "/a", "value": "1"}]`, want: 409},
		{name: "remove what is missing", patch: `[{"op": "remove", "path": "/a"}]`, want: 409},
		{name: "remove twice", patch: `[{"op": "remove", "path": "/os_distro"}, {"op": "remove", "path": "/os_distro"}]`, want: 409},
		{name: "old form: add a property that is there", patch: `[{"add": "/os_distro", "value": "1"}]`, headers: draft4, want: 409},
		{name: "old form: add an attribute", patch: `[{"add": "/name", "value": "1"}]`, headers: draft4, want: 409},

		{name: "another media type", patch: `[]`, headers: []string{"Content-Type", "application/json"}, want: 415},
		{name: "no media type", patch: `[]`, headers: []string{"Content-Type", ""}, want: 415},
	}
	for _, name := range []string{
		"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self", "file", "schema", "id",
		"os_hash_algo", "os_hash_value", "stores",
	} {
		for _, op := range []string{"add", "replace", "remove"} {
			tests = append(tests, struct {
				name, who, patch string
				headers          []string
				want             int
				shows            map[string]any
			}{
				name: op + " " + name, who: "admin", want: 403,
				patch: fmt.Sprintf(`[{"op": "%s", "path": "/%s", "value": "x"}]`, op, name),
			})
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := defaultAPI(t)
			id := a.create("alice", `{"name": "n", "visibility": "private", "disk_format": "raw", "os_distro": "cirros"}`)
			before := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, "")
			who := tt.who
			if who == "" {
				who = "alice"
			}
			commits := a.records.Commits()
			w := a.do(who, "PATCH", "/v2/images/"+id, tt.patch, tt.headers...)
			if w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if tt.want == http.StatusUnsupportedMediaType && w.Header().Get("Accept-Patch") != imageapi.PatchV21+", "+imageapi.PatchV20 {
				t.Errorf("Accept-Patch: %q", w.Header().Get("Accept-Patch"))
			}
			if tt.want >= 400 {
				wantError(t, w)
				after := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, "")
				if a.records.Commits() != commits || after.Body.String() != before.Body.String() {
					t.Errorf("a refused patch made %s of %s", after.Body, before.Body)
				}
				return
			}
			if n := a.records.Commits() - commits; n > 1 {
				t.Errorf("stored in %d steps", n)
			}
			for name, want := range tt.shows {
				if !reflect.DeepEqual(w.json[name], want) {
					t.Errorf("%s: got %v, want %v", name, w.json[name], want)
				}
			}
		})
	}
}

func TestPatchIsAtomic(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{"name": "old", "a": "1"}`)
	a.want(http.StatusConflict, "alice", "PATCH", "/v2/images/"+id,
		`[{"op": "replace", "path": "/name", "value": "new"}, {"op": "replace", "path": "/a", "value": "2"}, {"op": "remove", "path": "/b"}]`)
	if w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, ""); w.json["name"] != "old" || w.json["a"] != "1" {
		t.Fatalf("half of a patch was stored: %s", w.Body)
	}
}

func TestPatchMovesTheUpdateTime(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{}`)
	before := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, "")
	w := a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/a", "value": "1"}]`)
	if w.json["updated_at"] == before.json["updated_at"] || w.json["created_at"] != before.json["created_at"] {
		t.Fatalf("before %s, after %s", before.Body, w.Body)
	}
}

func TestPatchOfAnUnknownImage(t *testing.T) {
	a := defaultAPI(t)
	for _, id := range []string{someID, "x", "..%2f", strings.ToUpper(someID)} {
		a.want(http.StatusNotFound, "admin", "PATCH", "/v2/images/"+id, `[]`)
	}
}

func TestPatchOfASharedImageByItsMember(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{}`)
	a.want(http.StatusOK, "alice", "POST", "/v2/images/"+id+"/members", `{"member": "p2"}`)
	a.want(http.StatusForbidden, "bob", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/name", "value": "x"}]`)
}

func TestPatchOfAnImageOfNobody(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("admin", `{"owner": null, "visibility": "public"}`)
	a.want(http.StatusForbidden, "alice", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/a", "value": "x"}]`)
	a.want(http.StatusOK, "admin", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/owner", "value": "p1"}]`)
	a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/a", "value": "x"}]`)
}

func TestFormatsAreFixedOnceThereIsData(t *testing.T) {
	a := defaultAPI(t)
	for _, status := range []storev1.ImageStatus{uploading, importing, ready} {
		img := active("p1", storev1.Visibility_VISIBILITY_PRIVATE)
		img.Status = status
		id := a.put(img)
		a.want(http.StatusForbidden, "alice", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/disk_format", "value": "qcow2"}]`)
		a.want(http.StatusForbidden, "alice", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/container_format", "value": "ova"}]`)
		a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/disk_format", "value": "raw"}]`)
		a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/name", "value": "new"}]`)
	}
}

func TestPatchQuotas(t *testing.T) {
	a := newAPI(t, catalog.Limits{Properties: 2, Tags: 2}, policy.Options{})
	over := &storev1.Image{
		Status: queued, Owner: "p1", Visibility: storev1.Visibility_VISIBILITY_PRIVATE,
		Properties: map[string]string{"a": "1", "b": "1", "c": "1"}, Tags: []string{"a", "b", "c"},
	}
	id := a.put(over)
	tests := []struct {
		patch string
		want  int
	}{
		{`[{"op": "add", "path": "/d", "value": "1"}]`, 413},
		{`[{"op": "remove", "path": "/a"}, {"op": "add", "path": "/d", "value": "1"}]`, 413},
		{`[{"op": "replace", "path": "/a", "value": "2"}]`, 200}, // what is over the limit already may stay
		{`[{"op": "replace", "path": "/tags", "value": ["a", "b", "c", "d"]}]`, 413},
		{`[{"op": "replace", "path": "/tags", "value": ["a", "b"]}]`, 200},
		{`[{"op": "replace", "path": "/tags", "value": ["a", "b", "c"]}]`, 413},
		{`[{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/b"}, {"op": "add", "path": "/d", "value": "1"}]`, 200},
	}
	for _, tt := range tests {
		if w := a.do("alice", "PATCH", "/v2/images/"+id, tt.patch); w.Code != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.patch, w.Code, w.Body, tt.want)
		}
	}
}

func TestPatchBombs(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{}`)
	repeat := func(n int, part string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(part+",", n), ",") + "]"
	}
	tests := map[string]struct {
		patch string
		want  int
	}{
		"too many operations": {repeat(1025, `{"op": "add", "path": "/a", "value": "1"}`), 413},
		"a large body":        {repeat(30000, `{"op": "add", "path": "/a", "value": "1"}`), 413},
		"many properties":     {"[" + properties(1000) + "]", 413},
		"deep value":          {`[{"op": "add", "path": "/a", "value": ` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}]`, 400},
		"many slashes":        {`[{"op": "add", "path": "` + strings.Repeat("/a", 1000) + `", "value": "1"}]`, 400},
		"large values":        {repeat(10, `{"op": "add", "path": "/a", "value": "`+strings.Repeat("x", 70000)+`"}`), 400},
	}
	for name, tt := range tests {
		if w := a.do("alice", "PATCH", "/v2/images/"+id, tt.patch); w.Code != tt.want {
			t.Errorf("%s: got %d %.300s, want %d", name, w.Code, w.Body, tt.want)
		}
	}
	if w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, ""); w.json["a"] != nil {
		t.Errorf("something was stored: %s", w.Body)
	}
}

// properties returns operations that add n properties.
func properties(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`{"op": "add", "path": "/p%d", "value": "1"}`, i))
	}
	return strings.Join(parts, ",")
}

func TestPatchOfProtectedProperties(t *testing.T) {
	options := protected(t,
		"[^hidden]", "create = admin", "read = admin", "update = admin", "delete = admin",
		"[^kept]", "create = @", "read = @", "update = !", "delete = !",
		"[.*]", "create = @", "read = @", "update = @", "delete = @")
	tests := []struct {
		name, who, patch string
		want             int
	}{
		{"update refused", "alice", `[{"op": "replace", "path": "/kept", "value": "2"}]`, 403},
		{"update by add refused", "alice", `[{"op": "add", "path": "/kept", "value": "2"}]`, 403},
		{"delete refused", "alice", `[{"op": "remove", "path": "/kept"}]`, 403},
		{"create allowed", "alice", `[{"op": "add", "path": "/kept_2", "value": "2"}]`, 200},
		{"what cannot be read is created", "alice", `[{"op": "add", "path": "/hidden", "value": "2"}]`, 403},
		{"what cannot be read is not there to replace", "alice", `[{"op": "replace", "path": "/hidden", "value": "2"}]`, 409},
		{"what cannot be read is not there to remove", "alice", `[{"op": "remove", "path": "/hidden"}]`, 409},
		{"the rest is free", "alice", `[{"op": "add", "path": "/free", "value": "2"}, {"op": "remove", "path": "/free"}]`, 200},
		{"by those who may", "admin", `[{"op": "replace", "path": "/hidden", "value": "2"}]`, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPI(t, catalog.DefaultLimits(), options)
			id := a.create("admin", `{"hidden": "1", "kept": "1", "owner": "p1"}`)
			if w := a.do(tt.who, "PATCH", "/v2/images/"+id, tt.patch); w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if record, _ := a.records.Image(image.ID(id)); record.Properties["hidden"] != "1" && tt.who != "admin" {
				t.Errorf("what the caller cannot see has changed: %v", record.Properties)
			}
		})
	}
}

// TestPatchLosesNoRace lets somebody else change the image while a patch is being stored: both changes stay, and what
// does not hold any more is refused as a whole.
func TestPatchLosesNoRace(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{"a": "1"}`)
	other := func(change func(*storev1.Image)) func() {
		return func() {
			err := a.catalog.EditImage(t.Context(), image.ID(id), 0, func(img *storev1.Image) error {
				change(img)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	a.records.RaceNext(other(func(img *storev1.Image) { img.Properties["b"] = "1" }))
	w := a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/c", "value": "1"}]`)
	if w.json["a"] != "1" || w.json["b"] != "1" || w.json["c"] != "1" {
		t.Fatalf("a change was lost: %s", w.Body)
	}
	a.records.RaceNext(other(func(img *storev1.Image) { delete(img.Properties, "a") }))
	a.want(http.StatusConflict, "alice", "PATCH", "/v2/images/"+id,
		`[{"op": "add", "path": "/d", "value": "1"}, {"op": "replace", "path": "/a", "value": "2"}]`)
	a.records.RaceNext(other(func(img *storev1.Image) { img.Owner = "p2" }))
	a.want(http.StatusNotFound, "alice", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/d", "value": "1"}]`)
	a.records.RaceNext(other(func(img *storev1.Image) { img.Visibility = storev1.Visibility_VISIBILITY_PRIVATE }))
	a.want(http.StatusNotFound, "carol", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/d", "value": "1"}]`)
	w = a.want(http.StatusOK, "admin", "GET", "/v2/images/"+id, "")
	if _, stored := w.json["d"]; stored {
		t.Fatalf("a refused patch was stored: %s", w.Body)
	}
}
