package glance

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// The tests in this file are named after the advisory whose mistake they rule out.

// unchanged fails the test if the record of an image differs from what it was when unchanged was called.
func (a *api) unchanged(id string) func() {
	_, before := a.records.Image(image.ID(id))
	return func() {
		a.t.Helper()
		if record, after := a.records.Image(image.ID(id)); after != before {
			a.t.Errorf("the image has changed: %v", record)
		}
	}
}

func TestOSSA2012017OthersCannotDelete(t *testing.T) {
	tests := []struct {
		visibility storev1.Visibility
		who        string
		want       int
	}{
		{storev1.Visibility_VISIBILITY_PRIVATE, "bob", 404},
		{storev1.Visibility_VISIBILITY_PRIVATE, "ann", 403},
		{storev1.Visibility_VISIBILITY_SHARED, "bob", 403}, // a member
		{storev1.Visibility_VISIBILITY_SHARED, "carol", 404},
		{storev1.Visibility_VISIBILITY_COMMUNITY, "bob", 403},
		{storev1.Visibility_VISIBILITY_PUBLIC, "bob", 403},
	}
	for _, tt := range tests {
		a := defaultAPI(t)
		img := active("p1", tt.visibility)
		img.Members = []*storev1.Member{{ProjectId: "p2", Status: storev1.MemberStatus_MEMBER_STATUS_ACCEPTED}}
		id := a.put(img, "central")
		check := a.unchanged(id)
		if w := a.do(tt.who, "DELETE", "/v2/images/"+id, ""); w.Code != tt.want {
			t.Errorf("%v by %s: got %d %s, want %d", tt.visibility, tt.who, w.Code, w.Body, tt.want)
		}
		check()
	}
}

func TestOSSA2013002ErrorsTellNoSecrets(t *testing.T) {
	a := defaultAPI(t)
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PUBLIC), "central", "dcn1")
	secret := errors.New("dial unix /var/lib/atoll/records.sock: key AQD0secret refused")
	requests := []struct{ who, method, path, body string }{
		{"alice", "PATCH", "/v2/images/" + id, `[{"op": "remove", "path": "/locations/0"}]`},
		{"admin", "PATCH", "/v2/images/" + id, `[{"op": "replace", "path": "/locations", "value": []}]`},
		{"admin", "PATCH", "/v2/images/" + id, `[{"op": "add", "path": "/locations/-", "value": {"url": "` + location4("central", id) + `"}}]`},
		{"admin", "PATCH", "/v2/images/" + id, `[{"op": "replace", "path": "/direct_url", "value": "` + location4("central", id) + `"}]`},
		{"bob", "PATCH", "/v2/images/" + id, `[{"op": "add", "path": "/a", "value": "1"}]`},
		{"alice", "PATCH", "/v2/images/" + id, `[{"op": "add", "path": "/a", "value": "1"}]`},
		{"alice", "POST", "/v2/images", `{"name": "x"}`},
		{"alice", "PUT", "/v2/images/" + id + "/tags/a", ``},
		{"alice", "POST", "/v2/images/" + id + "/actions/deactivate", ``},
		{"alice", "POST", "/v2/images/" + id + "/members", `{"member": "p2"}`},
	}
	for _, err := range []error{secret, fault.Wrap(secret, fault.Unavailable, "OUTCOME_UNKNOWN", "the records cannot be reached now")} {
		for _, r := range requests {
			a.records.FailNext(err)
			w := a.do(r.who, r.method, r.path, r.body)
			for _, leak := range []string{"rbd://", "f-central", "AQD0secret", "/var/lib", "goroutine", ".go:"} {
				if strings.Contains(w.Body.String(), leak) || strings.Contains(fmt.Sprint(w.Header()), leak) {
					t.Errorf("%s %s: %d %v %s tells %q", r.method, r.path, w.Code, w.Header(), w.Body, leak)
				}
			}
			if w.Code < 400 {
				t.Errorf("%s %s: got %d, want an error", r.method, r.path, w.Code)
			}
		}
	}
}

// TestOSSA2014041And2015002OnlyStoresAreLocations covers file:// and the ways round a list of what is forbidden.
func TestOSSA2014041And2015002OnlyStoresAreLocations(t *testing.T) {
	a := defaultAPI(t)
	a.server.locations = a.server
	id := a.create("alice", `{"disk_format": "raw", "container_format": "bare"}`)
	check := a.unchanged(id)
	for _, url := range []string{
		"file:///etc/passwd", "FILE:///etc/passwd", "filesystem:///etc/passwd", "swift+config://x/y", "http://169.254.169.254/", "cinder://x",
		"/etc/passwd", "rbd:///etc/passwd", "rbd://" + someID, "rbd://f-central/images/../snap", "rbd://f-central/images/" + someID + "/snap",
		"rbd://f-central/images/" + id + "/other", "rbd://f-none/images/" + id + "/snap", "rbd://f-central/none/" + id + "/snap",
	} {
		for _, patch := range []string{
			`[{"op": "add", "path": "/locations/-", "value": {"url": "` + url + `", "metadata": {}}}]`,
			`[{"op": "replace", "path": "/locations", "value": [{"url": "` + url + `", "metadata": {}}]}]`,
		} {
			for _, who := range []string{"admin", "nova", "alice"} {
				if w := a.do(who, "PATCH", "/v2/images/"+id, patch); w.Code != 400 && w.Code != 403 {
					t.Errorf("%s by %s: got %d %s", url, who, w.Code, w.Body)
				}
			}
		}
	}
	check()
}

func TestOSSA2015019StatusIsNotForClients(t *testing.T) {
	a := defaultAPI(t)
	w := a.want(http.StatusCreated, "alice", "POST", "/v2/images", `{}`, "X-Image-Meta-Status", "active")
	if w.json["status"] != "queued" {
		t.Fatalf("got %s", w.Body)
	}
	id, _ := w.json["id"].(string)
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images", `{"status": "active"}`)
	for _, who := range []string{"alice", "admin", "nova"} {
		a.want(http.StatusForbidden, who, "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/status", "value": "active"}]`)
		a.want(http.StatusForbidden, who, "PATCH", "/v2/images/"+id, `[{"replace": "/status", "value": "active"}]`, draft4...)
	}
	w = a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/a", "value": "1"}]`, "X-Image-Meta-Status", "active")
	if w.json["status"] != "queued" {
		t.Fatalf("got %s", w.Body)
	}
}

func TestOSSA2016006TheLastLocationStays(t *testing.T) {
	a := defaultAPI(t)
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PRIVATE), "central")
	check := a.unchanged(id)
	for _, who := range []string{"alice", "nova", "admin"} {
		a.want(http.StatusForbidden, who, "PATCH", "/v2/images/"+id, `[{"op": "remove", "path": "/locations/0"}]`)
		a.want(http.StatusForbidden, who, "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/locations", "value": []}]`)
	}
	if len(a.placed.removed) > 0 {
		t.Errorf("removed %v", a.placed.removed)
	}
	check()
}

func TestOSSN0065And0090UsersNeitherSeeNorSetLocations(t *testing.T) {
	a := defaultAPI(t)
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PUBLIC), "central", "dcn1")
	for _, who := range []string{"alice", "ann", "bob"} {
		for _, r := range []struct{ method, path, body string }{
			{"GET", "/v2/images/" + id, ""}, {"GET", "/v2/images", ""}, {"PATCH", "/v2/images/" + id, "[]"},
		} {
			if w := a.want(http.StatusOK, who, r.method, r.path, r.body); strings.Contains(w.Body.String(), "rbd://") || w.json["locations"] != nil {
				t.Errorf("%s %s shows %s to %s", r.method, r.path, w.Body, who)
			}
		}
		check := a.unchanged(id)
		a.want(http.StatusForbidden, who, "PATCH", "/v2/images/"+id,
			`[{"op": "add", "path": "/locations/-", "value": {"url": "`+location4("dcn2", id)+`", "metadata": {}}}]`)
		a.want(http.StatusForbidden, who, "PATCH", "/v2/images/"+id,
			`[{"op": "replace", "path": "/locations", "value": [{"url": "`+location4("dcn2", id)+`", "metadata": {}}]}]`)
		check()
	}
	if w := a.want(http.StatusOK, "edge", "GET", "/v2/images/"+id, ""); w.json["direct_url"] != location4("dcn1", id) {
		t.Errorf("a service at dcn1 sees %s", w.Body)
	}
	if len(a.placed.added) > 0 {
		t.Errorf("added %v", a.placed.added)
	}
}

func TestOSSN0005NothingIsSharedWithoutConsent(t *testing.T) {
	a := defaultAPI(t)
	id := a.create("alice", `{"name": "trojan"}`)
	a.want(http.StatusOK, "alice", "POST", "/v2/images/"+id+"/members", `{"member": "p2"}`)
	lists := func(query string) bool {
		for _, img := range list(a.want(http.StatusOK, "bob", "GET", "/v2/images"+query, ""), "images") {
			if m, _ := img.(map[string]any); m["id"] == id {
				return true
			}
		}
		return false
	}
	a.want(http.StatusOK, "bob", "GET", "/v2/images/"+id, "") // by its id, to look at what is offered
	if lists("") || lists("?visibility=shared") || !lists("?visibility=shared&member_status=pending") {
		t.Error("an image that was not accepted is listed, or not where it is asked for")
	}
	a.want(http.StatusForbidden, "alice", "PUT", "/v2/images/"+id+"/members/p2", `{"status": "accepted"}`) // not by its owner
	a.want(http.StatusOK, "bob", "PUT", "/v2/images/"+id+"/members/p2", `{"status": "accepted"}`)
	if !lists("") {
		t.Error("an image that was accepted is not listed")
	}
	a.want(http.StatusOK, "bob", "PUT", "/v2/images/"+id+"/members/p2", `{"status": "rejected"}`)
	if lists("") {
		t.Error("an image that was rejected is listed")
	}
}

func TestOSSN0015OnlyAdministratorsPublish(t *testing.T) {
	a := defaultAPI(t)
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images", `{"visibility": "public"}`)
	id := a.create("alice", `{}`)
	check := a.unchanged(id)
	for _, patch := range []string{
		`[{"op": "replace", "path": "/visibility", "value": "public"}]`, `[{"op": "add", "path": "/visibility", "value": "public"}]`,
		`[{"op": "replace", "path": "/visibility", "value": "public"}, {"op": "replace", "path": "/visibility", "value": "private"}]`,
	} {
		a.want(http.StatusForbidden, "alice", "PATCH", "/v2/images/"+id, patch)
	}
	a.want(http.StatusForbidden, "alice", "PATCH", "/v2/images/"+id, `[{"replace": "/visibility", "value": "public"}]`, draft4...)
	check()
	a.want(http.StatusOK, "admin", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/visibility", "value": "public"}]`)
}

// TestOSSN0015APatchGivesNoRights lets a rule look at a property, which the patch that needs the right sets itself.
func TestOSSN0015APatchGivesNoRights(t *testing.T) {
	a := newAPI(t, catalog.DefaultLimits(), rules(t, `"publicize_image": "'yes':%(checked)s"`)) //nolint:misspell // the name of the rule
	id := a.create("alice", `{"other": "1"}`)
	check := a.unchanged(id)
	a.want(http.StatusForbidden, "alice", "PATCH", "/v2/images/"+id,
		`[{"op": "add", "path": "/checked", "value": "yes"}, {"op": "replace", "path": "/visibility", "value": "public"}]`)
	check()
	id = a.create("alice", `{"checked": "yes"}`)
	a.want(http.StatusOK, "alice", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/visibility", "value": "public"}]`)
}

func TestOSSN0013TheFirstRuleOfAPropertyWins(t *testing.T) {
	a := newAPI(t, catalog.DefaultLimits(), protected(t,
		"[^x_billing]", "create = admin", "read = admin", "update = !", "delete = !",
		"[^x_.*]", "create = @", "read = @", "update = @", "delete = @"))
	id := a.create("admin", `{"x_billing_code": "1", "x_free": "1", "visibility": "public"}`)
	if w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, ""); w.json["x_billing_code"] != nil || w.json["x_free"] != "1" {
		t.Errorf("alice sees %s", w.Body)
	}
	a.want(http.StatusForbidden, "alice", "POST", "/v2/images", `{"x_billing_code": "0"}`)
	a.want(http.StatusForbidden, "admin", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/x_billing_code", "value": "0"}]`)
	a.want(http.StatusForbidden, "admin", "PATCH", "/v2/images/"+id, `[{"op": "remove", "path": "/x_billing_code"}]`)
	a.want(http.StatusForbidden, "admin", "PATCH", "/v2/images/"+id, `[{"op": "add", "path": "/unmatched", "value": "0"}]`)
	a.want(http.StatusOK, "admin", "PATCH", "/v2/images/"+id, `[{"op": "replace", "path": "/x_free", "value": "0"}]`)
}

// TestOSSN0057CreatesAreCountedOneByOne lets clients create images at the same time.
func TestOSSN0057CreatesAreCountedOneByOne(t *testing.T) {
	a := newAPI(t, catalog.Limits{ProjectImages: 10}, policy.Options{})
	a.server.Catalog = catalog.New(slow{a.records, &atomic.Int64{}, &atomic.Int64{}}, "central", catalog.Limits{ProjectImages: 10}, a.server.Now)
	var created atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch w := a.do("alice", "POST", "/v2/images", `{}`); w.Code {
			case http.StatusCreated:
				created.Add(1)
			case http.StatusRequestEntityTooLarge:
			default:
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if n := created.Load(); n != 10 {
		t.Errorf("%d images, want 10", n)
	}
}

func TestOSSN0057RecordsAreBounded(t *testing.T) {
	a := newAPI(t, catalog.Limits{ProjectImages: 3, Properties: 128, Tags: 128, Members: 128}, policy.Options{})
	ids := []string{a.create("alice", `{}`), a.create("alice", `{}`), a.create("alice", `{}`)}
	before := a.records.Commits()
	for range 10 {
		a.want(http.StatusRequestEntityTooLarge, "alice", "POST", "/v2/images", `{}`)
	}
	if a.records.Commits() != before {
		t.Error("refused creates were stored")
	}
	a.create("bob", `{}`) // counted by project
	a.records.Put(catalog.ImageKey(image.ID(ids[0])), nil)
	a.create("alice", `{}`)
}

func TestOSSN0057RequestsAreLimited(t *testing.T) {
	a := defaultAPI(t)
	rt := imageapi.NewRouter()
	a.server.Routes(rt)
	still := func() time.Time { return start }
	a.Handler = rt.Serve(imageapi.Options{Verifier: names{}, Limit: auth.NewLimiter(1, 5, still).Allow})
	for range 5 {
		a.want(http.StatusCreated, "alice", "POST", "/v2/images", `{}`)
	}
	before := a.records.Commits()
	if w := a.want(http.StatusTooManyRequests, "alice", "POST", "/v2/images", `{}`); w.Header().Get("Retry-After") == "" {
		t.Errorf("no Retry-After in %v", w.Header())
	}
	if a.records.Commits() != before {
		t.Error("a refused create was stored")
	}
	a.want(http.StatusCreated, "bob", "POST", "/v2/images", `{}`) // limited by user
}
