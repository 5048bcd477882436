package glance

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestImportInfo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		download bool
		want     string
	}{{false, "[glance-direct web-download copy-image]"}, {true, "[glance-direct web-download copy-image glance-download]"}} {
		h := newHub(t, func(o *options) { o.settings.GlanceDownload = c.download })
		methods, _ := h.want(http.StatusOK, "GET", "/v2/info/import", nil).json(t)["import-methods"].(map[string]any)
		if methods["type"] != "array" || methods["description"] != "Import methods available." || fmt.Sprint(methods["value"]) != c.want {
			t.Fatalf("got %v", methods)
		}
	}
}

// What is wrong whatever the state of the image.
func TestImportForm(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.settings.GlanceDownload = true })
	id := h.create()
	const remote = `"glance_image_id":"2bd882e7-1da0-4078-97fe-f1bb81f61b00"`
	for name, c := range map[string]struct {
		body    string
		headers []string
	}{
		"no JSON":               {"{", nil},
		"a list":                {"[]", nil},
		"no method":             {`{}`, nil},
		"method null":           {`{"method":null}`, nil},
		"method is a string":    {`{"method":"copy-image"}`, nil},
		"no name":               {`{"method":{}}`, nil},
		"name is a number":      {`{"method":{"name":1}}`, nil},
		"unknown name":          {`{"method":{"name":"teleport"}}`, nil},
		"no uri":                {`{"method":{"name":"web-download"}}`, nil},
		"uri is a number":       {`{"method":{"name":"web-download","uri":1}}`, nil},
		"uri without scheme":    {`{"method":{"name":"web-download","uri":"example.org/x"}}`, nil},
		"uri of a file":         {`{"method":{"name":"web-download","uri":"file:///etc/passwd"}}`, nil},
		"uri without host":      {`{"method":{"name":"web-download","uri":"http:///x"}}`, nil},
		"no region":             {`{"method":{"name":"glance-download",` + remote + `}}`, nil},
		"empty region":          {`{"method":{"name":"glance-download","glance_region":"",` + remote + `}}`, nil},
		"no remote image":       {`{"method":{"name":"glance-download","glance_region":"R"}}`, nil},
		"remote image no UUID":  {`{"method":{"name":"glance-download","glance_region":"R","glance_image_id":"x"}}`, nil},
		"unknown interface":     {`{"method":{"name":"glance-download","glance_region":"R","glance_service_interface":"x",` + remote + `}}`, nil},
		"all_stores no bool":    {`{"method":{"name":"glance-direct"},"all_stores":"yes"}`, nil},
		"all_stores null":       {`{"method":{"name":"glance-direct"},"all_stores":null}`, nil},
		"must_succeed no bool":  {`{"method":{"name":"glance-direct"},"all_stores_must_succeed":1}`, nil},
		"stores no list":        {`{"method":{"name":"glance-direct"},"stores":"dcn0"}`, nil},
		"stores of numbers":     {`{"method":{"name":"glance-direct"},"stores":[1]}`, nil},
		"stores null":           {`{"method":{"name":"glance-direct"},"stores":null}`, nil},
		"stores empty":          {`{"method":{"name":"copy-image"},"stores":[]}`, nil},
		"all and some stores":   {`{"method":{"name":"glance-direct"},"stores":["dcn0"],"all_stores":true}`, nil},
		"all stores and header": {`{"method":{"name":"glance-direct"},"all_stores":true}`, []string{"X-Image-Meta-Store", "dcn0"}},
		"stores and header":     {`{"method":{"name":"glance-direct"},"stores":["dcn0"]}`, []string{"X-Image-Meta-Store", "dcn0"}},
	} {
		h.about = name
		h.want(http.StatusBadRequest, "POST", path(id, "import"), jsonBody(c.body), c.headers...)
		// Mistakes of form come before everything that depends on the image.
		h.want(http.StatusBadRequest, "POST", path(image.NewID(), "import"), jsonBody(c.body), c.headers...)
	}
	if n := len(h.catalog.Read().Operations()); n != 0 {
		t.Fatalf("%d operations have begun", n)
	}
}

// webDownload is a request to import from a URL.
func webDownload(uri, more string) string {
	return fmt.Sprintf(`{"method":{"name":"web-download","uri":%q}%s}`, uri, more)
}

const (
	glanceDirect = `{"method":{"name":"glance-direct"}}`
	copyImage    = `{"method":{"name":"copy-image"},"stores":["dcn0"]}`
	someURL      = "http://127.0.0.1:1/image"
)

func TestImportState(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.paused = true })
	queued, done, staged := h.create(), h.upload([]byte("x")), h.create()
	h.want(http.StatusNoContent, "PUT", path(staged, "stage"), jsonBody("x"), octets()...)
	bare, err := h.catalog.CreateImage(t.Context(), catalog.NewImage{Owner: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	web := webDownload(someURL, "")
	for name, c := range map[string]struct {
		code    int
		id      image.ID
		body    string
		headers []string
	}{
		"no such image":               {http.StatusNotFound, image.NewID(), web, nil},
		"not visible":                 {http.StatusNotFound, queued, web, []string{"X-Auth-Token", "bob"}},
		"not allowed":                 {http.StatusForbidden, queued, web, []string{"X-Auth-Token", "ann"}},
		"copy not allowed":            {http.StatusForbidden, done, copyImage, []string{"X-Auth-Token", "ann"}},
		"unknown store":               {http.StatusConflict, queued, webDownload(someURL, `,"stores":["nowhere"]`), nil},
		"unknown store in the header": {http.StatusConflict, queued, web, []string{"X-Image-Meta-Store", "nowhere"}},
		"web-download of active":      {http.StatusConflict, done, web, nil},
		"web-download of staged":      {http.StatusConflict, staged, web, nil},
		"glance-direct of queued":     {http.StatusConflict, queued, glanceDirect, nil},
		"glance-direct of active":     {http.StatusConflict, done, glanceDirect, nil},
		"copy-image of queued":        {http.StatusConflict, queued, copyImage, nil},
		"copy-image of staged":        {http.StatusConflict, staged, copyImage, nil},
		"no formats":                  {http.StatusConflict, image.ID(bare.Id), web, nil},
		"copy to where it is":         {http.StatusBadRequest, done, `{"method":{"name":"copy-image"},"stores":["central","dcn0"]}`, nil},
		"copy to the default":         {http.StatusBadRequest, done, `{"method":{"name":"copy-image"}}`, nil},
		"copy to an unknown store":    {http.StatusConflict, done, `{"method":{"name":"copy-image"},"stores":["nowhere"]}`, nil},
		"staged twice":                {http.StatusConflict, staged, "stage", nil},
	} {
		h.about = name
		before := len(h.catalog.Read().Operations())
		if c.body == "stage" {
			h.want(c.code, "PUT", path(c.id, "stage"), jsonBody("y"), octets()...)
		} else {
			h.want(c.code, "POST", path(c.id, "import"), jsonBody(c.body), c.headers...)
		}
		if n := len(h.catalog.Read().Operations()) - before; n != 0 {
			t.Fatalf("%d operations have begun", n)
		}
	}
}

func TestImportGlanceDirect(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	data := random(5<<20 + 1)
	id := h.create()
	h.want(http.StatusNoContent, "PUT", path(id, "stage"), chunked(data), octets()...)
	if img := h.show(id); img["status"] != "uploading" {
		t.Fatalf("got %v", img)
	}
	r := h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(`{"method":{"name":"glance-direct"},"all_stores":true}`))
	if len(r.body) > 0 {
		t.Fatalf("got a body: %s", r.body)
	}
	h.until("all stores have it", func() bool { return h.show(id)["stores"] == "central,dcn0,dcn1" })
	img := h.show(id)
	if img["status"] != "active" || img["os_glance_importing_to_stores"] != "" || img["os_glance_failed_import"] != "" {
		t.Fatalf("got %v", img)
	}
	for _, store := range []string{"central", "dcn0", "dcn1"} {
		if !bytes.Equal(h.sites.copied(store, id), data) {
			t.Fatalf("store %s has other bytes", store)
		}
	}
}

// An import of staged data that failed can be asked for again, without sending the data again.
func TestImportGlanceDirectAgain(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	data := random(1 << 20)
	id := h.create()
	h.want(http.StatusNoContent, "PUT", path(id, "stage"), bytes.NewReader(data), octets()...)
	h.sites.change("dcn0", func(s *fakeSite) {
		s.failure = &agentv1.Failure{Reason: "STORE_ERROR", Message: "the pool is read-only"}
	})
	const both = `{"method":{"name":"glance-direct"},"stores":["central","dcn0"],"all_stores_must_succeed":true}`
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(both))
	h.until("it has failed", func() bool { return h.show(id)["os_glance_failed_import"] == "dcn0" })
	h.wantStatus(id, "uploading")
	if data := h.sites.copied("central", id); data != nil {
		t.Fatal("the central store has kept its copy")
	}
	h.sites.change("dcn0", func(s *fakeSite) { s.failure = nil })
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(both))
	h.until("both stores have it", func() bool { return h.show(id)["stores"] == "central,dcn0" })
	if img := h.show(id); img["os_glance_failed_import"] != "" || !bytes.Equal(h.sites.copied("dcn0", id), data) {
		t.Fatalf("got %v", img)
	}
}

func TestImportAllowFailure(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.create()
	h.want(http.StatusNoContent, "PUT", path(id, "stage"), jsonBody("data"), octets()...)
	h.sites.change("dcn0", func(s *fakeSite) {
		s.failure = &agentv1.Failure{Reason: "STORE_ERROR", Message: "the pool is read-only"}
	})
	h.want(http.StatusAccepted, "POST", path(id, "import"),
		jsonBody(`{"method":{"name":"glance-direct"},"stores":["dcn0","dcn1"],"all_stores_must_succeed":false}`))
	h.until("the others have it", func() bool {
		img := h.show(id)
		return img["stores"] == "central,dcn1" && img["os_glance_importing_to_stores"] == ""
	})
	if img := h.show(id); img["status"] != "active" || img["os_glance_failed_import"] != "dcn0" {
		t.Fatalf("got %v", img)
	}
}

func TestImportWebDownload(t *testing.T) {
	t.Parallel()
	data := random(6 << 20)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/image" {
			http.Error(w, "gone", http.StatusNotFound)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(web.Close)
	h := newHub(t)
	id := h.create()
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(webDownload(web.URL+"/image", `,"stores":["dcn1"]`)))
	h.until("both stores have it", func() bool { return h.show(id)["stores"] == "central,dcn1" })
	if !bytes.Equal(h.sites.copied("dcn1", id), data) {
		t.Fatal("other bytes")
	}
	h = newHub(t, unreachable)
	for _, uri := range []string{web.URL + "/missing", someURL} {
		id := h.create()
		h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(webDownload(uri, `,"all_stores":true`)))
		h.wantStatus(id, "queued")
		if img := h.show(id); img["os_glance_failed_import"] != "central,dcn0,dcn1" {
			t.Fatalf("got %v", img)
		}
		task := h.task(id)
		if task["status"] != "failure" || task["message"] == "" {
			t.Fatalf("got %v", task)
		}
		h.want(http.StatusNoContent, "PUT", path(id, "file"), jsonBody("after all"), octets()...)
	}
}

// task returns the latest task of an image.
func (h *hub) task(id image.ID) map[string]any {
	h.t.Helper()
	list, _ := h.want(http.StatusOK, "GET", path(id, "tasks"), nil).json(h.t)["tasks"].([]any)
	if len(list) == 0 {
		h.t.Fatal("no task")
	}
	task, _ := list[0].(map[string]any)
	return task
}

// Fetches that wait hold nothing, and their number is bounded.
func TestImportQueueIsBounded(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.paused, o.importer = true, importer.Config{Queue: 2} })
	var ids []image.ID
	for _, code := range []int{http.StatusAccepted, http.StatusAccepted, http.StatusServiceUnavailable} {
		ids = append(ids, h.create())
		h.want(code, "POST", path(ids[len(ids)-1], "import"), jsonBody(webDownload(someURL, "")))
	}
	if n := len(h.area.Contents()); n != 0 {
		t.Fatalf("%d contents have begun", n)
	}
	if task := h.task(ids[0]); task["status"] != "pending" {
		t.Fatalf("got %v", task)
	}
	if img := h.show(ids[0]); img["status"] != "importing" || img["os_glance_importing_to_stores"] != "central" {
		t.Fatalf("got %v", img)
	}
	h.wantNothingOf(ids[2])
}

func TestCopyImage(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	data := random(5 << 20)
	id := h.upload(data)
	h.sites.change("dcn0", func(s *fakeSite) { s.stuck = true })
	// Two copies to one store join, one to another store goes on beside them.
	for _, stores := range []string{`["dcn0"]`, `["dcn0"]`, `["dcn1"]`} {
		h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(`{"method":{"name":"copy-image"},"stores":`+stores+`}`))
	}
	h.until("one store has it", func() bool { return h.show(id)["stores"] == "central,dcn1" })
	if img := h.show(id); img["status"] != "active" || img["os_glance_importing_to_stores"] != "dcn0" {
		t.Fatalf("got %v", img)
	}
	h.sites.change("dcn0", func(s *fakeSite) { s.stuck = false })
	h.until("all stores have it", func() bool { return h.show(id)["stores"] == "central,dcn0,dcn1" })
	if !bytes.Equal(h.sites.copied("dcn0", id), data) {
		t.Fatal("other bytes")
	}
	before := len(h.catalog.Read().Operations())
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(`{"method":{"name":"copy-image"},"all_stores":true}`))
	if n := len(h.catalog.Read().Operations()); n != before {
		t.Fatal("a copy to nowhere has begun")
	}
}

// A copy that failed does not hinder the next one, and says why it failed.
func TestCopyImageAgain(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload([]byte("data"))
	h.sites.change("dcn0", func(s *fakeSite) {
		s.failure = &agentv1.Failure{Reason: "STORE_ERROR", Message: "the pool is read-only"}
	})
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(copyImage))
	h.until("it has failed", func() bool { return h.show(id)["os_glance_failed_import"] == "dcn0" })
	h.until("its task too", func() bool { return h.task(id)["status"] == "failure" })
	if task := h.task(id); !strings.Contains(fmt.Sprint(task["message"]), "the pool is read-only") {
		t.Fatalf("got %v", task)
	}
	if img := h.show(id); img["status"] != "active" || img["stores"] != "central" {
		t.Fatalf("got %v", img)
	}
	h.sites.change("dcn0", func(s *fakeSite) { s.failure = nil })
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(copyImage))
	h.until("the store has it", func() bool { return h.show(id)["stores"] == "central,dcn0" })
}

// region is an Image API of another region.
type region struct {
	url    string
	token  string
	format string
	sum    string // SHA-512 that is told; may be empty
	asked  atomic.Int64
}

func (g *region) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.asked.Add(1); r.Header.Get("X-Auth-Token") != g.token {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/image/v2/images/2bd882e7-1da0-4078-97fe-f1bb81f61b00":
		_, _ = fmt.Fprintf(w, `{"status":"active","disk_format":%q,"hw_disk_bus":"scsi","os_type":"linux","os_glance_x":"y",
			"trait:T":"required","secret":"s","owner":"them","size":3,"tags":["a"],"os_hash_algo":"sha512","os_hash_value":%q}`, g.format, g.sum)
	case "/image/v2/images/2bd882e7-1da0-4078-97fe-f1bb81f61b00/file":
		_, _ = w.Write([]byte("far"))
	default:
		http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
	}
}

// Endpoint implements Regions.
func (g *region) Endpoint(_ context.Context, token, service, iface, name string) (string, error) {
	if token != "alice" || service != "image" || name != "far" || iface != "internal" {
		return "", fault.New(fault.NotFound, "NO_ENDPOINT", "no such endpoint")
	}
	return g.url, nil
}

func TestImportGlanceDownload(t *testing.T) {
	t.Parallel()
	far := &region{token: "alice", format: "raw"}
	web := httptest.NewServer(far)
	t.Cleanup(web.Close)
	far.url = web.URL + "/image/v2/"
	h := newHub(t, func(o *options) { o.settings.GlanceDownload, o.regions = true, far })
	request := func(name, id string) string {
		return fmt.Sprintf(`{"method":{"name":"glance-download","glance_region":%q,"glance_image_id":%q,"glance_service_interface":"internal"}}`, name, id)
	}
	id := h.create()
	h.want(http.StatusBadRequest, "POST", path(id, "import"), jsonBody(request("nowhere", "2bd882e7-1da0-4078-97fe-f1bb81f61b00")))
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(request("far", "2bd882e7-1da0-4078-97fe-f1bb81f61b00")))
	img := h.wantStatus(id, "active")
	if string(h.sites.copied("central", id)) != "far" || img["hw_disk_bus"] != "scsi" || img["os_type"] != "linux" || img["trait:T"] != "required" {
		t.Fatalf("got %v", img)
	}
	if img["secret"] != nil || img["os_glance_x"] != nil || img["owner"] != "p1" {
		t.Fatalf("too much was copied: %v", img)
	}
	for name, ask := range map[string]func() string{
		"a redirect":        func() string { return string(image.NewID()) },
		"of another format": func() string { far.format = "qcow2"; return "2bd882e7-1da0-4078-97fe-f1bb81f61b00" },
	} {
		id := h.create()
		h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(request("far", ask())))
		h.wantNothing(id)
		if img := h.show(id); img["os_glance_failed_import"] != "central" {
			t.Fatalf("%s: got %v", name, img)
		}
		if task := h.task(id); task["status"] != "failure" || strings.Contains(fmt.Sprint(task), web.URL) || strings.Contains(fmt.Sprint(task), "elsewhere") {
			t.Fatalf("%s: got %v", name, task)
		}
	}
}

// An image of another region brings no property along that its importer may not set here.
func TestGlanceDownloadKeepsProtections(t *testing.T) {
	t.Parallel()
	far := &region{token: "alice", format: "raw"}
	web := httptest.NewServer(far)
	t.Cleanup(web.Close)
	far.url = web.URL + "/image/v2/"
	h := newHub(t, func(o *options) {
		o.settings.GlanceDownload, o.regions = true, far
		o.policy = protected(t, "[^trait:]", "create = admin", "read = @", "update = admin", "delete = admin",
			"[.*]", "create = @", "read = @", "update = @", "delete = @")
	})
	id := h.create()
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(
		`{"method":{"name":"glance-download","glance_region":"far","glance_image_id":"2bd882e7-1da0-4078-97fe-f1bb81f61b00","glance_service_interface":"internal"}}`))
	if img := h.wantStatus(id, "active"); img["trait:T"] != nil || img["os_type"] != "linux" {
		t.Errorf("got %v", img)
	}
}

// What an operation keeps of a glance-download must not hold the token.
func TestGlanceDownloadKeepsNoToken(t *testing.T) {
	t.Parallel()
	far := &region{token: "alice", url: "http://127.0.0.1:1/"}
	h := newHub(t, func(o *options) { o.settings.GlanceDownload, o.regions, o.paused = true, far, true })
	id := h.create()
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(
		`{"method":{"name":"glance-download","glance_region":"far","glance_image_id":"2bd882e7-1da0-4078-97fe-f1bb81f61b00","glance_service_interface":"internal"}}`))
	ops, _ := h.catalog.Read().ImageOperations(id)
	o := proto.CloneOf(ops[0])
	if o.Source.Uri != "" || o.Kind != storev1.OperationKind_OPERATION_KIND_IMPORT {
		t.Fatalf("got %v", o)
	}
	o.Requester = nil
	if strings.Contains(o.String(), "alice") {
		t.Fatalf("got %v", o)
	}
}
