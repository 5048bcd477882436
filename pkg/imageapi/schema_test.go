package imageapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// property is what clients look at in a schema.
type property struct {
	Type     any
	ReadOnly bool
	IsBase   *bool `json:"is_base"`
	Enum     []any
}

type schemaView struct {
	Name                 string
	Properties           map[string]property
	AdditionalProperties any
	Links                []struct{ Rel, Href string }
	Required             []string
	Definitions          map[string]any
}

func readSchema(t *testing.T, b *bench, name string) schemaView {
	t.Helper()
	var s schemaView
	a := b.get("/v2/schemas/"+name, "reader").want(200).header("Content-Type", "application/json")
	if err := json.Unmarshal(a.Body.Bytes(), &s); err != nil {
		t.Fatal(name, err)
	}
	return s
}

func TestImageSchema(t *testing.T) {
	s := readSchema(t, newBench(t), "image")
	var fixed, free, custom []string
	for name, p := range s.Properties {
		switch {
		case p.IsBase != nil && !*p.IsBase:
			custom = append(custom, name)
		case p.ReadOnly:
			fixed = append(fixed, name)
		default:
			free = append(free, name)
		}
	}
	for what, c := range map[string]struct {
		got  []string
		want string
	}{
		"read-only": {fixed, "checksum created_at direct_url file os_glance_failed_import os_glance_import_task os_glance_importing_to_stores " +
			"os_hash_algo os_hash_value schema self size status stores updated_at virtual_size"},
		"writable": {free, "container_format disk_format id locations min_disk min_ram name os_hidden owner protected tags visibility"},
		"custom":   {custom, "architecture description instance_uuid kernel_id os_distro os_version ramdisk_id"},
	} {
		slices.Sort(c.got)
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("%s: got %s", what, got)
		}
	}
	if got := marshal(s.AdditionalProperties); got != `{"type":"string"}` {
		t.Error(got)
	}
	if len(s.Links) != 3 || s.Links[1].Rel != "enclosure" || s.Links[1].Href != "{file}" {
		t.Error(s.Links)
	}
	checkEnums(t, s, image.Formats{})
}

// The schemas name the formats that the installation accepts, and no others.
func TestSchemaFormats(t *testing.T) {
	formats, err := image.ParseFormats([]string{"raw", "gpt"}, []string{"bare"})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.router = NewRouter()
	b.reads.Formats = formats
	b.reads.Register(b.router)
	for _, name := range []string{"image", "images"} {
		answer := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/v2/schemas/"+name, http.NoBody)
		r.Header.Set("X-Auth-Token", "reader")
		b.options.Registry = nil
		b.router.Serve(b.options).ServeHTTP(answer, r)
		var s schemaView
		if name == "images" {
			var list struct {
				Properties struct{ Images struct{ Items schemaView } }
			}
			err = json.Unmarshal(answer.Body.Bytes(), &list)
			s = list.Properties.Images.Items
		} else {
			err = json.Unmarshal(answer.Body.Bytes(), &s)
		}
		if err != nil {
			t.Fatal(name, err)
		}
		checkEnums(t, s, formats)
	}
}

func checkEnums(t *testing.T, s schemaView, accepted image.Formats) {
	t.Helper()
	for name, formats := range map[string][]string{"disk_format": accepted.Disk(), "container_format": accepted.Container()} {
		enum := s.Properties[name].Enum
		if len(enum) != len(formats)+1 || enum[0] != nil {
			t.Fatal(name, enum)
		}
		for i, f := range formats {
			if enum[i+1] != f {
				t.Errorf("%s: %v is not %s", name, enum[i+1], f)
			}
		}
	}
}

// Whatever an image shows is in its schema, so that clients that build their model from it see it.
func TestSchemaCoversJSON(t *testing.T) {
	s := readSchema(t, newBench(t), "image")
	img := sample(1, func(i *Image) {
		i.Stores, i.Copying, i.ImportTask, i.Locations = []string{"central"}, true, "t", []Location{{URL: "rbd://a/b/c/snap", Store: "central"}}
	})
	for name := range newBench(t, img).get("/v2/images/"+string(id(1)), "admin").object() {
		if _, ok := s.Properties[name]; !ok {
			t.Errorf("%s is not in the schema", name)
		}
		if !Base(name) && !Reserved(name) {
			t.Errorf("%s could be a property", name)
		}
	}
}

func TestSchemas(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ called, properties, required string }{
		"images":  {"images", "first images next schema", ""},
		"member":  {"member", "created_at image_id member_id schema status updated_at", ""},
		"members": {"members", "first members next schema", ""},
		"task":    {"task", "created_at expires_at id image_id input message owner request_id result schema self status type updated_at user_id", ""},
		"tasks":   {"tasks", "first next schema tasks", ""},
		"metadefs/namespace": {"namespace", "created_at description display_name namespace objects owner properties protected " +
			"resource_type_associations schema self tags updated_at visibility", "namespace"},
		"metadefs/namespaces": {"namespaces", "first namespaces next schema", ""},
		"metadefs/object":     {"object", "created_at description name properties required schema self updated_at", "name"},
		"metadefs/objects":    {"objects", "first next objects schema", ""},
		"metadefs/property": {"property", "additionalItems default description enum items maxItems maxLength maximum minItems " +
			"minLength minimum name operators pattern readonly required title type uniqueItems", "type title name"},
		"metadefs/properties":     {"properties", "first next properties schema", ""},
		"metadefs/tag":            {"tag", "created_at name updated_at", "name"},
		"metadefs/tags":           {"tags", "first next schema tags", ""},
		"metadefs/resource_type":  {"resource_type_association", "created_at name prefix properties_target updated_at", "name"},
		"metadefs/resource_types": {"resource_type_associations", "first next resource_type_associations schema", ""},
	} {
		s := readSchema(t, b, name)
		var names []string
		for n := range s.Properties {
			names = append(names, n)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); s.Name != c.called || got != c.properties || strings.Join(s.Required, " ") != c.required {
			t.Errorf("%s: %s %s %v", name, s.Name, got, s.Required)
		}
		body := b.get("/v2/schemas/"+name, "reader").Body.String()
		if strings.Contains(body, "#/definitions/") && s.Definitions["stringArray"] == nil {
			t.Errorf("%s refers to definitions that it lacks", name)
		}
	}
	b.get("/v2/schemas", "reader").want(404)
	b.get("/v2/schemas/nothing", "reader").want(404)
}
