package glance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// hub is a whole hub over records in memory, with a real staging area, importer and reconciler, served over HTTP. Its
// sites are played.
type hub struct {
	t        *testing.T
	about    string // what is being tested, for messages
	url      string
	server   *Server
	catalog  *catalog.Catalog
	records  *catalogtest.Records
	area     *staging.Area
	importer *importer.Importer
	sites    *fakeSites
	client   *http.Client
	closed   atomic.Int64 // connections whose requests have been dealt with
}

// options are what tests change about a hub.
type options struct {
	limits   catalog.Limits
	settings Settings
	policy   policy.Options
	regions  Regions
	verifier auth.Verifier
	importer importer.Config
	outside  outside.Options // which URLs may be fetched; all of this machine unless it is changed
	paused   bool            // fetches do not begin
	staging  int64           // limit of the staging area
}

// unreachable is for sources that cannot be reached: all of them fail after a second.
func unreachable(o *options) { o.outside.Connect = time.Second }

func newHub(t *testing.T, set ...func(*options)) *hub {
	t.Helper()
	o := options{
		limits:   catalog.DefaultLimits(),
		settings: Settings{DeleteWait: time.Minute, UploadWait: time.Minute},
		outside:  outside.Options{Operator: true},
		verifier: names{}, staging: 64 << 20,
	}
	for _, s := range set {
		s(&o)
	}
	h := &hub{t: t, records: catalogtest.New(), client: &http.Client{Transport: &http.Transport{}}}
	h.catalog = catalog.New(h.records, "central", o.limits, time.Now)
	for _, name := range []string{"central", "dcn0", "dcn1"} {
		if _, err := h.catalog.CreateSite(t.Context(), image.SiteID(name), "site "+name); err != nil {
			t.Fatal(err)
		}
		st := &agentv1.StoreStatus{StoreId: name, Driver: "ceph", Fsid: "f-" + name, Pool: "images"}
		if err := h.catalog.RegisterStore(t.Context(), image.SiteID(name), st); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	h.area, err = staging.Open(staging.Options{Dir: t.TempDir(), Limit: o.staging, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if o.outside.Connect == 0 {
		o.outside.Connect = 30 * time.Second // a busy machine may be late
	}
	web, err := outside.New(o.outside)
	if err != nil {
		t.Fatal(err)
	}
	o.importer.Converter = unasked{}
	o.importer.Outside, o.importer.Catalog, o.importer.Area, o.importer.Log = web, h.catalog, h.area, hclog.NewNullLogger()
	h.importer = importer.New(o.importer)
	h.sites = newFakeSites(h.catalog, h.records, h.area, "central", "dcn0", "dcn1")
	rules, err := policy.New(o.policy)
	if err != nil {
		t.Fatal(err)
	}
	index := NewIndex(h.catalog)
	h.server = New(Config{
		Catalog: h.catalog, Index: index, Importer: h.importer, Chunks: h.area, Directory: h.sites, Sources: h.sites.needs, Regions: o.regions,
		Policy: rules, Settings: o.settings, Outside: web, Regional: web,
	})
	h.server.undoWait, h.server.preferWait = time.Minute, time.Minute
	h.serve(index, o)
	return h
}

// serve runs the parts of the hub until the test ends.
func (h *hub) serve(index *Index, o options) {
	rt := imageapi.NewRouter()
	h.server.Routes(rt)
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = imageapi.NewHTTPServer(rt.Serve(imageapi.Options{Verifier: o.verifier, Sites: true}), nil)
	ts.Config.ReadHeaderTimeout = time.Minute // a busy machine may be late
	ts.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			h.closed.Add(1)
		}
	}
	ts.Start()
	h.url = ts.URL
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.sites.run(ctx) })
	wg.Go(func() { _ = h.sites.loop.Run(ctx) })
	wg.Go(func() { _ = h.sites.needs.Run(ctx) })
	if !o.paused {
		wg.Go(func() { _ = h.importer.Run(ctx) })
	}
	h.t.Cleanup(func() {
		h.client.CloseIdleConnections()
		ts.Close()
		cancel()
		wg.Wait()
		index.Close()
		if err := h.area.Close(); err != nil {
			h.t.Error(err)
		}
	})
}

// reply is an answer that has been read.
type reply struct {
	*http.Response
	body []byte
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v in %q", err, r.body)
	}
	return v
}

// do sends a request as alice. Headers come in pairs; "X-Auth-Token" makes it another caller. A body that is no
// *bytes.Reader or *strings.Reader is sent in chunks.
func (h *hub) do(method, path string, body io.Reader, headers ...string) reply {
	h.t.Helper()
	r, err := h.try(method, path, body, headers...)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (h *hub) try(method, path string, body io.Reader, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, body)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("X-Auth-Token", "alice")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return reply{resp, b}, err
}

// want is do for an answer that must have the status.
func (h *hub) want(code int, method, path string, body io.Reader, headers ...string) reply {
	h.t.Helper()
	r := h.do(method, path, body, headers...)
	if r.StatusCode != code {
		h.t.Fatalf("%s: %s %s: got %d %q, want %d", h.about, method, path, r.StatusCode, r.body[:min(len(r.body), 500)], code)
	}
	return r
}

// octets are the headers of a request with data.
func octets(more ...string) []string {
	return append([]string{"Content-Type", "application/octet-stream"}, more...)
}

// create makes a queued image of alice's.
func (h *hub) create() image.ID {
	h.t.Helper()
	return h.createAs("p1")
}

func (h *hub) createAs(project string) image.ID {
	h.t.Helper()
	img, err := h.catalog.CreateImage(h.t.Context(), catalog.NewImage{
		Name: "cirros", DiskFormat: "raw", ContainerFormat: "bare", Owner: project,
		Visibility: storev1.Visibility_VISIBILITY_PRIVATE,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return image.ID(img.Id)
}

// upload makes an active image of alice's with data.
func (h *hub) upload(data []byte) image.ID {
	h.t.Helper()
	id := h.create()
	h.want(http.StatusNoContent, "PUT", path(id, "file"), bytes.NewReader(data), octets()...)
	return id
}

func path(id image.ID, part string) string { return fmt.Sprintf("/v2/images/%s/%s", id, part) }

// show returns an image as alice sees it.
func (h *hub) show(id image.ID) map[string]any {
	h.t.Helper()
	return h.want(http.StatusOK, "GET", "/v2/images/"+string(id), nil).json(h.t)
}

// wantStatus waits until the image has a status.
func (h *hub) wantStatus(id image.ID, status string) map[string]any {
	h.t.Helper()
	var last map[string]any
	h.until("the image is "+status, func() bool {
		last = h.show(id)
		return last["status"] == status
	})
	return last
}

// until waits until something is so.
func (h *hub) until(what string, so func() bool) {
	h.t.Helper()
	sub := h.catalog.Subscribe()
	defer sub.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !so() {
		select {
		case <-sub.C():
			sub.Take()
		case <-tick.C:
		case <-limit:
			h.t.Fatalf("timed out: %s", what)
		}
	}
}

// wantNothing checks that an image is queued again, that no operation on it goes on, and that no data is left that a site
// or an import could take.
func (h *hub) wantNothing(id image.ID) {
	h.t.Helper()
	h.wantStatus(id, "queued")
	h.wantNoData(id)
}

func (h *hub) wantNoData(id image.ID) {
	h.t.Helper()
	h.until("nothing is left", func() bool {
		ops, _ := h.catalog.Read().ImageOperations(id)
		replicas, _ := h.catalog.Read().Replicas(id)
		return len(ops) == 0 && len(replicas) == 0 && h.staged(id) == 0
	})
	for _, site := range []string{"central", "dcn0", "dcn1"} {
		if data := h.sites.copied(site, id); data != nil {
			h.t.Fatalf("store %s still has %d bytes", site, len(data))
		}
	}
}

// staged returns how many contents are in the staging area that belong to no other image.
func (h *hub) staged(id image.ID) int {
	named := map[image.ID]bool{}
	for _, img := range h.catalog.Read().Images() {
		named[image.ID(img.Content.GetId())] = img.Id != string(id)
	}
	n := 0
	for _, c := range h.area.Contents() {
		if !c.Gone && !named[c.ID] {
			n++
		}
	}
	return n
}

// random returns bytes that are always the same.
func random(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

// chunked hides the length of data.
func chunked(data []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(data)} }

// jsonBody is a JSON body.
func jsonBody(s string) io.Reader { return strings.NewReader(s) }

// unasked is a converter that no test gives a disk to.
type unasked struct{}

func (unasked) Check() error { return nil }

func (unasked) Convert(context.Context, string, convert.Source, int64, int64, convert.Sink) error {
	return errors.New("a disk is converted")
}
