package glance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestListLocations(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.spread([]byte("data"))
	h.want(http.StatusForbidden, "GET", path(id, "locations"), nil)
	h.want(http.StatusNotFound, "GET", path(id, "locations"), nil, "X-Auth-Token", "bob")
	h.want(http.StatusNotFound, "GET", path(image.NewID(), "locations"), nil, "X-Auth-Token", "admin")
	for prefix, order := range map[string]string{"": "central dcn0 dcn1", "/site/dcn1": "dcn1 central dcn0"} {
		r := h.want(http.StatusOK, "GET", prefix+path(id, "locations"), nil, "X-Auth-Token", "admin")
		var want []string
		for store := range strings.FieldsSeq(order) {
			want = append(want, fmt.Sprintf(`{"url":"rbd://f-%s/images/%s/snap","metadata":{"store":"%s"}}`, store, id, store))
		}
		if got := strings.TrimSpace(string(r.body)); got != "["+strings.Join(want, ",")+"]" {
			t.Fatalf("got %s", got)
		}
	}
	if r := h.want(http.StatusOK, "GET", path(h.create(), "locations"), nil, "X-Auth-Token", "admin"); strings.TrimSpace(string(r.body)) != "[]" {
		t.Fatalf("got %s", r.body)
	}
}

func TestAddLocationRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	queued, done := h.create(), h.upload([]byte("x"))
	good := "rbd://f-dcn0/images/" + string(queued) + "/snap"
	body := func(url, more string) string { return fmt.Sprintf(`{"url":%q%s}`, url, more) }
	hash := func(algo, value string) string {
		return fmt.Sprintf(`,"validation_data":{"os_hash_algo":%q,"os_hash_value":%q}`, algo, value)
	}
	for name, c := range map[string]struct {
		code int
		id   image.ID
		body string
		who  string
	}{
		"no JSON":            {http.StatusBadRequest, queued, "{", "nova"},
		"no url":             {http.StatusBadRequest, queued, "{}", "nova"},
		"url no string":      {http.StatusBadRequest, queued, `{"url":1}`, "nova"},
		"url empty":          {http.StatusBadRequest, queued, body("", ""), "nova"},
		"url too long":       {http.StatusBadRequest, queued, body("rbd://"+strings.Repeat("x", 300), ""), "nova"},
		"validation no map":  {http.StatusBadRequest, queued, body(good, `,"validation_data":"x"`), "nova"},
		"validation null":    {http.StatusBadRequest, queued, body(good, `,"validation_data":null`), "nova"},
		"algorithm only":     {http.StatusBadRequest, queued, body(good, `,"validation_data":{"os_hash_algo":"sha512"}`), "nova"},
		"value only":         {http.StatusBadRequest, queued, body(good, `,"validation_data":{"os_hash_value":"aa"}`), "nova"},
		"unknown algorithm":  {http.StatusBadRequest, queued, body(good, hash("crc32", "aabbccdd")), "nova"},
		"wrong length":       {http.StatusBadRequest, queued, body(good, hash("sha512", "aabb")), "nova"},
		"no hex":             {http.StatusBadRequest, queued, body(good, hash("md5", strings.Repeat("x", 32))), "nova"},
		"no such image":      {http.StatusNotFound, image.NewID(), body(good, ""), "nova"},
		"not visible":        {http.StatusNotFound, queued, body(good, ""), "bob"},
		"reader":             {http.StatusForbidden, queued, body(good, ""), "ann"},
		"owner, rbd":         {http.StatusForbidden, queued, body(good, ""), "alice"},
		"owner, http":        {http.StatusForbidden, queued, body("http://example.org/i", ""), "alice"},
		"http":               {http.StatusBadRequest, queued, body("http://example.org/i", ""), "nova"},
		"file":               {http.StatusBadRequest, queued, body("file:///etc/passwd", ""), "nova"},
		"filesystem":         {http.StatusBadRequest, queued, body("filesystem:///etc/passwd", ""), "nova"},
		"swift+config":       {http.StatusBadRequest, queued, body("swift+config://a/b/c/d", ""), "nova"},
		"upper case":         {http.StatusBadRequest, queued, body("RBD://f-dcn0/images/"+string(queued)+"/snap", ""), "nova"},
		"old form":           {http.StatusBadRequest, queued, body("rbd://"+string(queued), ""), "nova"},
		"empty part":         {http.StatusBadRequest, queued, body("rbd://f-dcn0//"+string(queued)+"/snap", ""), "nova"},
		"five parts":         {http.StatusBadRequest, queued, body(good+"/x", ""), "nova"},
		"bad escape":         {http.StatusBadRequest, queued, body("rbd://f-dcn0/images/%zz/snap", ""), "nova"},
		"foreign cluster":    {http.StatusBadRequest, queued, body("rbd://other/images/"+string(queued)+"/snap", ""), "nova"},
		"foreign pool":       {http.StatusBadRequest, queued, body("rbd://f-dcn0/volumes/"+string(queued)+"/snap", ""), "nova"},
		"cluster and pool":   {http.StatusBadRequest, queued, body("rbd://f-dcn0%2Fimages/x/"+string(queued)+"/snap", ""), "nova"},
		"another image":      {http.StatusBadRequest, queued, body("rbd://f-dcn0/images/"+string(done)+"/snap", ""), "nova"},
		"another snapshot":   {http.StatusBadRequest, queued, body("rbd://f-dcn0/images/"+string(queued)+"/other", ""), "nova"},
		"active already":     {http.StatusConflict, done, body("rbd://f-dcn0/images/"+string(done)+"/snap", ""), "nova"},
		"admin, not a store": {http.StatusBadRequest, queued, body("cinder://x", ""), "admin"},
	} {
		h.about = name
		r := h.want(c.code, "POST", path(c.id, "locations"), jsonBody(c.body), "X-Auth-Token", c.who)
		for _, secret := range []string{"f-dcn0", "passwd", "example.org", "volumes", "cinder"} {
			if strings.Contains(string(r.body), secret) {
				t.Fatalf("the answer repeats the URL: %s", r.body)
			}
		}
		h.wantNothingOf(queued)
	}
}

func TestAddLocation(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("ab", 64)
	for name, c := range map[string]struct {
		more   string
		status string
	}{
		"without digest":  {``, "active"},
		"empty object":    {`,"validation_data":{}`, "active"},
		"the right one":   {`,"validation_data":{"os_hash_algo":"sha512","os_hash_value":"` + strings.ToUpper(sum) + `"}`, "active"},
		"another digest":  {`,"validation_data":{"os_hash_algo":"sha512","os_hash_value":"` + strings.Repeat("cd", 64) + `"}`, "queued"},
		"escaped":         {``, "active"},
		"nothing there":   {``, "queued"},
		"by another name": {`,"metadata":{"store":"dcn1"}`, "active"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			id := h.create()
			if name != "nothing there" {
				h.sites.change("dcn0", func(s *fakeSite) {
					s.foreign[id] = &agentv1.Adoption{SizeBytes: 10, Complete: true, ManifestDigest: make([]byte, 32), Md5: "m", Sha512: sum}
				})
			}
			url := "rbd://f-dcn0/images/" + string(id) + "/snap"
			if name == "escaped" {
				url = "rbd://f%2Ddcn0/images/" + string(id) + "/snap"
			}
			r := h.want(http.StatusAccepted, "POST", path(id, "locations"), jsonBody(`{"url":"`+url+`"`+c.more+`}`), "X-Auth-Token", "nova")
			if len(r.body) > 0 {
				t.Fatalf("got a body: %s", r.body)
			}
			h.until("it is decided", func() bool { ops, _ := h.catalog.Read().ImageOperations(id); return len(ops) == 0 })
			img := h.wantStatus(id, c.status)
			if task := h.task(id); task["type"] != "location_import" || (task["status"] == "success") != (c.status == "active") {
				t.Fatalf("got %v", task)
			}
			if c.status == "active" && (img["stores"] != "dcn0" || img["os_hash_value"] != sum) {
				t.Fatalf("got %v", img)
			}
		})
	}
}

// The old way, through PATCH, takes over copies and removes them by the same rules.
func TestPatchMovesCopies(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.spread([]byte("data"))
	patch := func(code int, id image.ID, op string) {
		t.Helper()
		h.want(code, "PATCH", "/v2/images/"+string(id), jsonBody("["+op+"]"),
			"Content-Type", "application/openstack-images-v2.1-json-patch", "X-Auth-Token", "admin")
	}
	h.sites.change("dcn1", func(s *fakeSite) { s.clones[id] = true })
	patch(http.StatusConflict, id, `{"op":"remove","path":"/locations/2"}`)
	h.sites.change("dcn1", func(s *fakeSite) { s.clones[id] = false })
	patch(http.StatusOK, id, `{"op":"remove","path":"/locations/2"}`)
	patch(http.StatusOK, id, `{"op":"remove","path":"/locations/0"}`)
	patch(http.StatusForbidden, id, `{"op":"remove","path":"/locations/0"}`)
	if got := h.show(id)["stores"]; got != "dcn0" {
		t.Fatalf("got %v", got)
	}
	other := h.create()
	h.sites.change("dcn0", func(s *fakeSite) { s.foreign[other] = &agentv1.Adoption{SizeBytes: 10} })
	patch(http.StatusForbidden, other, `{"op":"add","path":"/locations/-","value":{"url":"http://example.org/x","metadata":{}}}`)
	patch(http.StatusBadRequest, other, `{"op":"add","path":"/locations/-","value":{"url":"rbd://a/b/c/snap","metadata":{}}}`)
	patch(http.StatusOK, other, `{"op":"add","path":"/locations/-","value":{"url":"rbd://f-dcn0/images/`+string(other)+`/snap","metadata":{}}}`)
	h.wantStatus(other, "active")
	if r, _ := h.catalog.Read().Replica(other, "dcn0"); !r.GetAdopted() || r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
		t.Fatalf("got %v", r)
	}
}
