package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	id := string(img1)
	for _, c := range []struct {
		path string
		want target
	}{
		{"/", target{kind: discovery}},
		{"/versions", target{kind: discovery}},
		{"/healthcheck", target{kind: discovery}},
		{"/v1/images", target{kind: discovery}},
		{"/v2/", target{kind: discovery}},
		{"/v2", target{kind: discovery}},
		{"/v2/schemas/image", target{kind: discovery}},
		{"/v2/images", target{kind: list}},
		{"/v2.7/images?limit=3", target{kind: list}},
		{"/site/dcn9/v2/images", target{kind: list}},
		{"/v2/images/" + id, target{record, img1}},
		{"/v2/images/" + id + "/members", target{members, img1}},
		{"/v2/images/" + id + "/members/p2", target{members, img1}},
		{"/v2/images/" + id + "/locations", target{places, img1}},
		{"/v2/images/" + id + "/file", target{bytesOf, img1}},
		{"/site/dcn0/v2.17/images/" + id + "/file", target{bytesOf, img1}},
		{"/v2/images/" + id + "/import", target{other, img1}},
		{"/v2/images/" + id + "/tags/x", target{other, img1}},
		{"/v2/images/" + id + "/file/x", target{other, img1}},
		{"/v2/images/" + id + "/", target{other, img1}},
		{"/v2/images/nonsense", target{}},
		{"/v2/images/", target{}},
		{"/v2/images/..%2f" + id, target{}},
		{"/v2/info/stores", target{kind: stores}},
		{"/v2/info/stores/detail", target{kind: stores}},
		{"/v2/info/import", target{}},
		{"/v2/tasks", target{}},
		{"/v2/stores/dcn0/" + id, target{}},
	} {
		if got := parse(httptest.NewRequest(http.MethodGet, c.path, nil)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/images/"+id, nil)
	r.Header.Set("Accept", "application/vnd.openstack.images-v2.3")
	if got := parse(r); got != (target{record, img1}) {
		t.Errorf("version in the Accept header: %+v", got)
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path string
		want         bool
	}{
		{"GET", path1, true},
		{"GET", "/site/dcn0" + path1, true},
		{"GET", path1 + "/locations", true},
		{"GET", path1 + "/file", true},
		{"HEAD", path1, false},
		{"PATCH", path1, false},
		{"POST", path1 + "/import", false},
		{"PUT", path1 + "/file", false},
		{"GET", path1 + "/members", false},
		{"GET", "/v2/images", false},
	} {
		if got := waits(c.method, parse(httptest.NewRequest(c.method, c.path, nil))); got != c.want {
			t.Errorf("%s %s: %v", c.method, c.path, got)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	none, known := view{}, view{known: true}
	held, sick, fresh := view{known: true, held: true}, view{known: true, held: true, sick: true}, view{known: true, held: true, fresh: true}
	for _, c := range []struct {
		name   string
		method string
		kind   kind
		view   view
		want   who
	}{
		{"versions", "GET", discovery, none, site},
		{"wrong method of a schema", "POST", discovery, none, site},
		{"list", "GET", list, none, hubFirst},
		{"stores", "GET", stores, none, hubFirst},
		{"create", "POST", list, none, hubOnly},
		{"unknown image", "GET", record, none, hubOnly},
		{"image being filled", "GET", record, known, hubFirst},
		{"image held", "GET", record, held, site},
		{"image held, hub's view wanted", "GET", record, fresh, hubFirst},
		{"patch of an image held", "PATCH", record, held, hubOnly},
		{"delete of an image held", "DELETE", record, held, hubOnly},
		{"members", "GET", members, held, site},
		{"locations", "GET", places, held, site},
		{"new location", "POST", places, held, hubOnly},
		{"locations elsewhere", "GET", places, none, hubOnly},
		{"data", "GET", bytesOf, held, site},
		{"data while the store is away", "GET", bytesOf, sick, hubFirst},
		{"data being filled", "GET", bytesOf, known, hubPatient},
		{"data elsewhere", "GET", bytesOf, none, hubPatient},
		{"upload", "PUT", bytesOf, none, hubPatient},
		{"tasks", "GET", other, held, hubOnly},
		{"import", "POST", other, held, hubOnly},
	} {
		if got := choose(c.method, target{kind: c.kind}, c.view); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
