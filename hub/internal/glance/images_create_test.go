package glance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

const someID = "2bd882e7-1da0-4078-97fe-f1bb81f61b00"

func TestCreateAnswersWithTheImage(t *testing.T) {
	a := defaultAPI(t)
	w := a.want(http.StatusCreated, "alice", "POST", "/v2/images", `{
		"id": "2BD882E7-1da0-4078-97fe-f1bb81f61b00", "name": "cirros", "visibility": "private", "protected": true, "os_hidden": true,
		"tags": ["b", "a", "b"], "container_format": "bare", "disk_format": "qcow2", "min_ram": 512, "min_disk": 2147483647,
		"os_distro": "cirros", "hw_disk_bus": ""}`)
	for name, want := range map[string]string{
		"Location": "/v2/images/" + someID, "OpenStack-image-import-methods": "glance-direct,web-download,copy-image",
		"OpenStack-image-store-ids": "central,dcn1,dcn2", "Content-Type": "application/json",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("header %s: got %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(w.Header().Get("X-Openstack-Request-Id"), "req-") {
		t.Errorf("no request id in %v", w.Header())
	}
	wantKeys(t, w, `{"id": "`+someID+`", "name": "cirros", "status": "queued", "visibility": "private", "protected": true,
		"os_hidden": true, "owner": "p1", "tags": ["a", "b"], "container_format": "bare", "disk_format": "qcow2",
		"min_ram": 512, "min_disk": 2147483647, "size": null, "virtual_size": null, "checksum": null, "os_hash_algo": null,
		"os_hash_value": null, "os_distro": "cirros", "hw_disk_bus": "", "self": "/v2/images/`+someID+`",
		"file": "/v2/images/`+someID+`/file", "schema": "/v2/schemas/image",
		"created_at": "2026-03-01T12:00:01Z", "updated_at": "2026-03-01T12:00:01Z"}`)
	show := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+someID, "")
	if show.Body.String() != w.Body.String() {
		t.Errorf("show differs from the answer to create: %s", show.Body)
	}
}

// TestPropertiesOfTheHubAreNotCopied creates an image as Nova makes a snapshot: with all properties of the one it began as.
func TestPropertiesOfTheHubAreNotCopied(t *testing.T) {
	a := defaultAPI(t)
	id := a.want(http.StatusCreated, "alice", "POST", "/v2/images", `{"atoll_signature": "{}", "atoll_source_format": 5, "os_distro": "cirros"}`).json["id"]
	w := a.want(http.StatusOK, "alice", "GET", fmt.Sprintf("/v2/images/%s", id), "")
	for name, want := range map[string]any{"atoll_signature": nil, "atoll_source_format": nil, "os_distro": "cirros"} {
		if w.json[name] != want {
			t.Errorf("%s is %v", name, w.json[name])
		}
	}
}

// wantKeys compares the whole object of an answer.
func wantKeys(t *testing.T, w answer, want string) {
	t.Helper()
	var keys map[string]any
	if err := json.Unmarshal([]byte(want), &keys); err != nil {
		t.Fatal(err)
	}
	for k := range w.json {
		if _, ok := keys[k]; !ok {
			t.Errorf("%s: got %v, want nothing", k, w.json[k])
		}
	}
	for k := range keys {
		got, ok := w.json[k]
		if !ok || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", keys[k]) {
			t.Errorf("%s: got %#v (there: %t), want %#v", k, got, ok, keys[k])
		}
	}
}

func TestCreateDefaults(t *testing.T) {
	a := defaultAPI(t)
	w := a.want(http.StatusCreated, "alice", "POST", "/v2/images", `{}`)
	id, _ := w.json["id"].(string)
	wantKeys(t, w, `{"id": "`+id+`", "name": null, "status": "queued", "visibility": "shared", "protected": false,
		"os_hidden": false, "owner": "p1", "tags": [], "container_format": null, "disk_format": null,
		"min_ram": 0, "min_disk": 0, "size": null, "virtual_size": null, "checksum": null, "os_hash_algo": null,
		"os_hash_value": null, "self": "/v2/images/`+id+`", "file": "/v2/images/`+id+`/file", "schema": "/v2/schemas/image",
		"created_at": "2026-03-01T12:00:01Z", "updated_at": "2026-03-01T12:00:01Z"}`)
}

// TestCreateRows has a row for each answer that POST /v2/images may give.
func TestCreateRows(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		name, who, body string
		want            int
	}{
		{"nothing is said", "alice", `{}`, 201},
		{"null for what may be null", "alice", `{"name": null, "disk_format": null, "container_format": null}`, 201},
		{"an empty name", "alice", `{"name": ""}`, 201},
		{"a long name in characters", "alice", `{"name": "` + strings.Repeat("é", 255) + `"}`, 201},
		{"its own project", "alice", `{"owner": "p1"}`, 201},
		{"community", "alice", `{"visibility": "community"}`, 201},
		{"by an administrator: public", "admin", `{"visibility": "public"}`, 201},
		{"by an administrator: for others", "admin", `{"owner": "p2"}`, 201},
		{"by an administrator: for nobody", "admin", `{"owner": null}`, 201},
		{"escaped characters", "alice", `{"name": "\u00e9\n"}`, 201},

		{"no body", "alice", ``, 400},
		{"not JSON", "alice", `{"name": `, 400},
		{"a list", "alice", `[]`, 400},
		{"a string", "alice", `"x"`, 400},
		{"null", "alice", `null`, 400},
		{"bad UTF-8", "alice", "{\"name\": \"\xff\"}", 400},
		{"four bytes of UTF-8", "alice", "{\"name\": \"\U0001f600\"}", 400},
		{"four bytes of UTF-8, escaped", "alice", `{"name": "\ud83d\ude00"}`, 400},
		{"NUL", "alice", `{"name": "a\u0000"}`, 400},
		{"NUL in a property's name", "alice", `{"a\u0000": "x"}`, 400},
		{"id is no UUID", "alice", `{"id": "x"}`, 400},
		{"id is null", "alice", `{"id": null}`, 400},
		{"name is a number", "alice", `{"name": 1}`, 400},
		{"name is too long", "alice", `{"name": "` + long + `"}`, 400},
		{"owner is too long", "admin", `{"owner": "` + long + `"}`, 400},
		{"visibility is unknown", "alice", `{"visibility": "secret"}`, 400},
		{"visibility is null", "alice", `{"visibility": null}`, 400},
		{"protected is text", "alice", `{"protected": "true"}`, 400},
		{"os_hidden is null", "alice", `{"os_hidden": null}`, 400},
		{"disk_format is unknown", "alice", `{"disk_format": "floppy"}`, 400},
		{"disk_format is empty", "alice", `{"disk_format": ""}`, 400},
		{"container_format is unknown", "alice", `{"container_format": "tin"}`, 400},
		{"min_disk is negative", "alice", `{"min_disk": -1}`, 400},
		{"min_ram is too large", "alice", `{"min_ram": 2147483648}`, 400},
		{"min_ram is a fraction", "alice", `{"min_ram": 1.5}`, 400},
		{"min_ram is text", "alice", `{"min_ram": "1"}`, 400},
		{"min_ram is null", "alice", `{"min_ram": null}`, 400},
		{"tags is text", "alice", `{"tags": "a"}`, 400},
		{"tags is null", "alice", `{"tags": null}`, 400},
		{"a tag is a number", "alice", `{"tags": [1]}`, 400},
		{"a tag is null", "alice", `{"tags": [null]}`, 400},
		{"a tag is too long", "alice", `{"tags": ["` + long + `"]}`, 400},
		{"a property is a number", "alice", `{"os_distro": 1}`, 400},
		{"a property is null", "alice", `{"os_distro": null}`, 400},
		{"a property is an object", "alice", `{"os_distro": {}}`, 400},
		{"a property's name is too long", "alice", `{"` + long + `": "x"}`, 400},
		{"a property has no name", "alice", `{"": "x"}`, 400},
		{"a property is too large", "alice", `{"p": "` + strings.Repeat("x", 65536) + `"}`, 400},

		{"no token", "", `{}`, 401},
		{"a wrong token", "mallory", `{}`, 401},

		{"a reader", "ann", `{}`, 403},
		{"a token for the whole system", "system", `{}`, 403},
		{"for others", "alice", `{"owner": "p2"}`, 403},
		{"for nobody", "alice", `{"owner": null}`, 403},
		{"public", "alice", `{"visibility": "public"}`, 403},
		{"read-only direct_url", "alice", `{"direct_url": "x"}`, 403},
		{"read-only self", "alice", `{"self": "x"}`, 403},
		{"read-only file", "alice", `{"file": "x"}`, 403},
		{"read-only schema", "alice", `{"schema": "x"}`, 403},
		{"read-only stores", "alice", `{"stores": "x"}`, 403},
		{"read-only status", "alice", `{"status": "active"}`, 403},
		{"read-only size", "alice", `{"size": 1}`, 403},
		{"read-only checksum", "alice", `{"checksum": "x"}`, 403},
		{"read-only os_hash_value", "alice", `{"os_hash_value": "x"}`, 403},
		{"read-only created_at, even by administrators", "admin", `{"created_at": "x"}`, 403},
		{"reserved location", "alice", `{"location": "x"}`, 403},
		{"reserved deleted", "alice", `{"deleted": "x"}`, 403},
		{"reserved deleted_at", "alice", `{"deleted_at": "x"}`, 403},
		{"reserved os_glance", "alice", `{"os_glance_import_task": "x"}`, 403},
		{"locations", "alice", `{"locations": []}`, 403},
	}
	a := defaultAPI(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := a.records.Commits()
			w := a.do(tt.who, "POST", "/v2/images", tt.body)
			if w.Code != tt.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.want)
			}
			if changed := a.records.Commits() > before; changed != (tt.want == 201) {
				t.Errorf("status %d, but something was stored: %t", w.Code, changed)
			}
			if tt.want >= 400 {
				wantError(t, w)
			}
		})
	}
}

// wantError checks the form of an error for clients that want JSON.
func wantError(t *testing.T, w answer) {
	t.Helper()
	status := fmt.Sprintf("%d %s", w.Code, http.StatusText(w.Code))
	if w.json["code"] != status || w.json["title"] != http.StatusText(w.Code) || w.json["message"] == "" || len(w.json) != 3 {
		t.Errorf("got %s, want an error with the code %q", w.Body, status)
	}
}

func TestCreateTwice(t *testing.T) {
	a := defaultAPI(t)
	a.create("alice", `{"id": "`+someID+`"}`)
	a.want(http.StatusConflict, "alice", "POST", "/v2/images", `{"id": "`+someID+`"}`)
	a.want(http.StatusConflict, "bob", "POST", "/v2/images", `{"id": "`+someID+`"}`)
}

func TestCreateQuotas(t *testing.T) {
	many := func(n int) string {
		var parts []string
		for i := range n {
			parts = append(parts, fmt.Sprintf(`"p%d": "x"`, i))
		}
		return strings.Join(parts, ",")
	}
	tests := []struct {
		name, body string
		want       int
	}{
		{"properties at the limit", `{` + many(128) + `}`, 201},
		{"properties over the limit", `{` + many(129) + `}`, 413},
		{"a hundred thousand properties", `{` + many(60_000) + `}`, 413},
		{"tags over the limit", `{"tags": ["` + strings.Join(strings.Fields(fmt.Sprint(make([]int, 129))), `","`) + `"]}`, 201}, // all the same
		{"many tags", `{"tags": [` + strings.ReplaceAll(many(129), `: "x"`, ``) + `]}`, 413},
		{"a body over the limit", `{"p": "` + strings.Repeat("x", 1<<20) + `"}`, 413},
	}
	a := defaultAPI(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if w := a.do("alice", "POST", "/v2/images", tt.body); w.Code != tt.want {
				t.Fatalf("got %d %.300s, want %d", w.Code, w.Body, tt.want)
			}
		})
	}
}

func TestCreateWithProtectedProperties(t *testing.T) {
	a := newAPI(t, catalog.DefaultLimits(), protected(t,
		"[^x_admin_]", "create = admin", "read = admin", "update = admin", "delete = admin",
		"[^x_]", "create = member", "read = @", "update = admin", "delete = !"))
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images", `{"x_admin_a": "1"}`)
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images", `{"other": "1"}`)
	a.want(http.StatusCreated, "alice", "POST", "/v2/images", `{"x_a": "1"}`)
	id := a.create("admin", `{"x_admin_a": "1", "x_a": "2", "owner": "p1"}`)
	w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, "")
	if _, shown := w.json["x_admin_a"]; shown || w.json["x_a"] != "2" {
		t.Errorf("got %s", w.Body)
	}
}

func TestCreateByPolicy(t *testing.T) {
	a := newAPI(t, catalog.DefaultLimits(), rules(t, `"add_image": ""`, `"communitize_image": "role:admin"`))
	a.want(http.StatusCreated, "ann", "POST", "/v2/images", `{}`)
	a.want(http.StatusForbidden, "ann", "POST", "/v2/images", `{"owner": "p2"}`) // whatever the policy says
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images", `{"visibility": "community"}`)
	a = newAPI(t, catalog.Limits{}, policy.Options{})
	a.create("alice", `{}`)
}
