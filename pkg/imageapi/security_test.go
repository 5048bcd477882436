package imageapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// What a policy says about downloads holds however the data would be served: in whole, in part, from a named store.
func TestOSSA2013_027_DownloadRuleOnEveryPath(t *testing.T) {
	b := newBench(t, stored(1))
	url := "/v2/images/" + string(id(1)) + "/file"
	for _, c := range []struct{ url, header, value string }{
		{url, "Accept", "*/*"}, {url, "Range", "bytes=0-1"}, {url, "Content-Range", "bytes 0-1/*"}, {url + "?prefer=central", "Accept", "*/*"},
	} {
		b.get(c.url, "alpha", c.header, c.value) // a reader before does not open the way for others
		b.get(c.url, "reader", c.header, c.value).want(403)
		if b.stick.closed == 0 {
			t.Error("the member was refused")
		}
		b.stick.closed = 0
	}
}

// A status, and all else that the service keeps, cannot be set by a header, a body or a patch.
func TestOSSA2015_019_StatusIsNotSetByClients(t *testing.T) {
	b := newBench(t, sample(1, func(i *Image) { i.Status, i.Visibility = Queued, Private }))
	url := "/v2/images/" + string(id(1))
	for _, name := range []string{"X-Image-Meta-Status", "x-image-meta-is_public", "X-Image-Meta-Property-Status"} {
		if got := b.get(url, "alpha", name, "active").want(200).object(); got["status"] != "queued" || got["visibility"] != "private" {
			t.Error(got)
		}
	}
	for _, name := range []string{"status", "size", "checksum", "os_hash_value", "created_at", "stores", "direct_url", "self", "file"} {
		if !CreateReadOnly(name) || !ReadOnly(name) {
			t.Errorf("a client may set %s", name)
		}
	}
	// Nor by a property of that name, should one have come in another way.
	forged := sample(2, func(i *Image) {
		i.Status, i.Properties = Queued, map[string]string{"status": "active", "owner": "beta", "os_glance_import_task": "x"}
	})
	b = newBench(t, forged)
	if got := b.get("/v2/images/"+string(id(2)), "alpha").want(200).object(); got["status"] != "queued" || got["owner"] != "alpha" || got["os_glance_import_task"] != nil {
		t.Error(got)
	}
	if got := b.get("/v2/images?status=active", "alpha").numbers(); got != "" {
		t.Error(got)
	}
}

// An image that somebody shares with a project is not in its lists until it accepts.
func TestOSSN0005_SharingNeedsConsent(t *testing.T) {
	for status, listed := range map[string]string{"pending": "", "rejected": "", "accepted": "1"} {
		b := newBench(t, sample(1, func(i *Image) {
			i.Visibility, i.Members = Shared, []Member{{ProjectID: "beta", Status: status}}
		}))
		if got := b.get("/v2/images", "beta").numbers(); got != listed {
			t.Errorf("%s: the list holds %q", status, got)
		}
		b.get("/v2/images/"+string(id(1)), "beta").want(200)
		b.get("/v2/images/"+string(id(1)), "gamma").want(404)
		if got := b.get("/v2/images?member_status=all", "gamma").numbers(); got != "" {
			t.Errorf("another project sees %q", got)
		}
	}
}

// A method is what the request line says, exactly: no route answers to another one, however it is asked for.
func TestOSSN0048_MethodsAreStrict(t *testing.T) {
	b := newBench(t, sample(1))
	deleted := false
	b.router.Handle(http.MethodDelete, "/v2/images/{id}", func(http.ResponseWriter, *http.Request) error {
		deleted = true
		return nil
	})
	url := "/v2/images/" + string(id(1))
	b.do(http.MethodPost, url, "alpha", "").want(405).header("Allow", "DELETE, GET")
	b.do(http.MethodPost, url, "alpha", "", "X-Http-Method-Override", "DELETE").want(405)
	b.get(url+"?_method=DELETE", "alpha").want(200)
	b.do("delete", url, "alpha", "").want(501)
	if deleted {
		t.Error("an image was deleted by another method")
	}
}

// Errors hold nothing of the inside: no cause, no location, no stack.
func TestOSSA2013_002_ErrorsHideTheInside(t *testing.T) {
	b := newBench(t)
	inside := fault.Wrap(fault.New(fault.Internal, "X", "rbd://fsid/pool keyring=AQB"), fault.Unavailable, "STORE_OFFLINE", "no store can be read now")
	b.router.Handle(http.MethodGet, "/v2/wrapped", func(http.ResponseWriter, *http.Request) error { return inside })
	b.router.Handle(http.MethodGet, "/v2/coded", func(http.ResponseWriter, *http.Request) error {
		return Status(fault.New(fault.Internal, "X", "rbd://fsid/pool keyring=AQB"), http.StatusTeapot)
	})
	for url, code := range map[string]int{"/v2/wrapped": 503, "/v2/coded": 418} {
		if got := b.get(url, "alpha").want(code).Body.String(); strings.Contains(got, "rbd") || strings.Contains(got, "AQB") {
			t.Error(got)
		}
	}
}

// Locations, which let their reader touch the data of the store, are for services and administrators only.
func TestOSSN0090_UsersNeverSeeLocations(t *testing.T) {
	b := newBench(t, stored(1, func(i *Image) { i.Locations = []Location{{URL: "rbd://f/p/i/snap", Store: "central"}} }))
	for _, url := range []string{"/v2/images/" + string(id(1)), "/v2/images", "/v2/images?visibility=all", "/v2/images/" + string(id(1)) + "/file"} {
		a := b.get(url, "alpha").want(200)
		if strings.Contains(a.Body.String(), "rbd:") || strings.Contains(marshal(a.Header()), "rbd:") {
			t.Error(url, a.Body)
		}
	}
	if got := b.get("/v2/images/"+string(id(1)), "admin").object(); got["direct_url"] != "rbd://f/p/i/snap" {
		t.Error(got)
	}
	// The bytes kept for everybody are not those of an administrator.
	if got := b.get("/v2/images/"+string(id(1)), "alpha").Body.String(); strings.Contains(got, "rbd:") {
		t.Error(got)
	}
}
