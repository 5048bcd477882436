package imageapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestImageJSON(t *testing.T) {
	bare := &Image{ID: id(1), Status: Queued, Visibility: Shared, CreatedAt: start, UpdatedAt: start}
	full := sample(2, func(i *Image) {
		i.Name, i.VirtualSize, i.Checksum, i.HashAlgo, i.HashValue = "né \"q\"", 99, "c4", "sha512", "ff"
		i.Tags, i.Protected, i.Hidden, i.MinDisk, i.MinRAM = []string{"a", "b<"}, true, true, 3, 4
		i.Stores, i.Copying, i.ImportingTo, i.Failed, i.ImportTask = []string{"central", "dcn0"}, true, []string{"dcn1", "dcn2"}, nil, "task-1"
		i.Properties = map[string]string{"os_distro": "debian", "id": "forged", "os_glance_stage_host": "http://10.0.0.1", "locations": "x", "atoll_source_format": "qcow2"}
		i.Locations = []Location{{URL: "rbd://secret"}}
	})
	const common = `"schema":"/v2/schemas/image"`
	for _, c := range []struct {
		img         *Image
		token, want string
	}{
		{bare, "alpha", `{"id":"` + string(id(1)) + `","name":null,"status":"queued","visibility":"shared","protected":false,"os_hidden":false,"owner":null,
			"disk_format":null,"container_format":null,"size":null,"virtual_size":null,"checksum":null,"os_hash_algo":null,"os_hash_value":null,
			"min_disk":0,"min_ram":0,"tags":[],"created_at":"2026-11-21T06:00:00Z","updated_at":"2026-11-21T06:00:00Z",
			"self":"/v2/images/` + string(id(1)) + `","file":"/v2/images/` + string(id(1)) + `/file",` + common + `}`},
		{full, "beta", `{"id":"` + string(id(2)) + `","name":"né \"q\"","status":"active","visibility":"public","protected":true,"os_hidden":true,"owner":"alpha",
			"disk_format":"raw","container_format":"bare","size":3,"virtual_size":99,"checksum":"c4","os_hash_algo":"sha512","os_hash_value":"ff",
			"min_disk":3,"min_ram":4,"tags":["a","b<"],"created_at":"2026-11-21T06:00:02Z","updated_at":"2026-11-21T06:02:00Z",
			"self":"/v2/images/` + string(id(2)) + `","file":"/v2/images/` + string(id(2)) + `/file",` + common + `,"stores":"central,dcn0",
			"os_glance_importing_to_stores":"dcn1,dcn2","os_glance_failed_import":"","os_glance_import_task":"task-1","os_distro":"debian","atoll_source_format":"qcow2"}`},
	} {
		var got, want map[string]any
		body := newBench(t, c.img).get("/v2/images/"+string(c.img.ID), c.token).want(200).Body.Bytes()
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(got, want, func(a, b any) bool { return marshal(a) == marshal(b) }) {
			t.Errorf("got %s\nwant %s", marshal(got), marshal(want))
		}
	}
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestLocationsInJSON(t *testing.T) {
	img := sample(1, func(i *Image) {
		i.Stores = []string{"central", "dcn0", "dcn1"}
		i.Locations = []Location{
			{URL: "rbd://a/images/1/snap", Store: "central", Site: "central"},
			{URL: "rbd://b/images/1/snap", Store: "dcn0", Site: "dcn0"},
			{URL: "rbd://c/images/1/snap", Store: "dcn1", Site: "dcn1"},
		}
	})
	b := newBench(t, img, sample(2))
	b.tokens.callers["nova"] = caller("services", "service", "reader")
	url := "/v2/images/" + string(id(1))
	for _, c := range []struct {
		url, token, service, order string
	}{
		{url, "beta", "", ""},
		{"/site/dcn0" + url, "alpha", "", ""},
		{url, "admin", "", "central dcn0 dcn1"},
		{url, "nova", "", "central dcn0 dcn1"},
		{url, "beta", "nova", "central dcn0 dcn1"},
		{"/site/dcn1" + url, "beta", "nova", "dcn1 central dcn0"},
		{"/site/central" + url, "beta", "nova", "central dcn0 dcn1"},
		{"/site/elsewhere" + url, "beta", "nova", "central dcn0 dcn1"},
	} {
		a := b.get(c.url, c.token, "X-Service-Token", c.service).want(200)
		var got struct {
			DirectURL *string `json:"direct_url"`
			Locations []struct {
				URL      string
				Metadata map[string]string
			}
		}
		if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		var stores []string
		for _, l := range got.Locations {
			stores = append(stores, l.Metadata["store"])
		}
		if order := strings.Join(stores, " "); order != c.order {
			t.Errorf("%s %s: got %q", c.url, c.token, order)
		}
		if c.order == "" && (strings.Contains(a.Body.String(), "rbd:") || got.DirectURL != nil) {
			t.Error(a.Body)
		}
		if c.order != "" && *got.DirectURL != got.Locations[0].URL {
			t.Error(*got.DirectURL)
		}
	}
	if got := b.get("/v2/images/"+string(id(2)), "admin").object(); got["direct_url"] != nil || got["locations"] == nil {
		t.Error(got)
	}
	if got := b.get("/v2/images", "admin").want(200).Body.String(); strings.Count(got, "direct_url") != 1 || strings.Count(got, `"locations"`) != 2 {
		t.Error(got)
	}
	if !slices.Equal([]string{img.Locations[0].Store, img.Locations[1].Store}, []string{"central", "dcn0"}) {
		t.Error("the shared image was changed")
	}
}

func TestStringsAreJSON(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.String().Draw(rt, "s")
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != strings.ToValidUTF8(s, "\uFFFD") {
			rt.Fatalf("%q became %q: %v", s, got, err)
		}
	})
}

func TestTarget(t *testing.T) {
	img := sample(1, func(i *Image) {
		i.Visibility, i.Members = Shared, []Member{{ProjectID: "beta", Status: "pending"}}
		i.Properties = map[string]string{"hw_disk_bus": "red", "locations": "x"}
		i.Protected, i.MinDisk, i.MinRAM, i.VirtualSize, i.Checksum, i.HashAlgo, i.HashValue, i.Tags = true, 1, 2, 5, "c", "sha512", "v", []string{"a", "b"}
		i.Locations = []Location{{URL: "rbd://x"}}
	})
	want := map[string]string{
		"id": string(img.ID), "image_id": string(img.ID), "project_id": "alpha", "owner": "alpha", "visibility": "shared", "name": "image 1",
		"status": "active", "protected": "True", "os_hidden": "False", "disk_format": "raw", "container_format": "bare", "tags": "a,b",
		"min_disk": "1", "min_ram": "2", "size": "2", "virtual_size": "5", "checksum": "c", "os_hash_algo": "sha512", "os_hash_value": "v",
		"created_at": "2026-11-21T06:00:01Z", "updated_at": "2026-11-21T06:01:00Z", "hw_disk_bus": "red", "member_id": "beta", "member": "beta",
	}
	for name, value := range want {
		if got, ok := img.Target(caller("beta")).Attribute(name); !ok || got != value {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, name := range []string{"locations", "direct_url", "nothing"} {
		if got, ok := img.Target(caller("beta")).Attribute(name); ok {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, c := range []string{"alpha", "gamma", ""} {
		if got, ok := img.Target(caller(c)).Attribute("member_id"); ok {
			t.Errorf("member_id for %q is %q", c, got)
		}
	}
	if _, ok := (&Image{}).Target(nil).Attribute("project_id"); ok {
		t.Error("an image of nobody has a project")
	}
}
