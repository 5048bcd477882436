package glance

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// callers are the people of the tests; their tokens are their names.
var callers = map[string]*auth.Caller{
	"admin":  {UserID: "admin", ProjectID: "admin", Roles: []string{"admin", "member", "reader"}},
	"alice":  {UserID: "alice", ProjectID: "p1", Roles: []string{"member", "reader"}},
	"ann":    {UserID: "ann", ProjectID: "p1", Roles: []string{"reader"}},
	"bob":    {UserID: "bob", ProjectID: "p2", Roles: []string{"member", "reader"}},
	"carol":  {UserID: "carol", ProjectID: "p3", Roles: []string{"member", "reader"}},
	"nova":   {UserID: "alice", ProjectID: "p1", Roles: []string{"member", "reader"}, ServiceUserID: "nova", ServiceRoles: []string{"service"}},
	"edge":   {UserID: "alice", ProjectID: "p1", Roles: []string{"member", "reader"}, ServiceRoles: []string{"service"}, Site: "dcn1"},
	"system": {UserID: "sys", SystemScope: "all", Roles: []string{"admin", "member", "reader"}},
}

type names struct{}

func (names) Verify(_ context.Context, token, _ string) (*auth.Caller, error) {
	if c := callers[token]; c != nil {
		return c, nil
	}
	return nil, fault.New(fault.Unauthenticated, "BAD_TOKEN", "the token is not valid")
}

// api is a hub's Image API over records in memory. The clock moves by a second with each look at it.
type api struct {
	http.Handler
	t       testing.TB
	server  *Server
	records *catalogtest.Records
	catalog *catalog.Catalog
	placed  *placed
}

// start is when the clock of an api begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newAPI(t testing.TB, limits catalog.Limits, options policy.Options) *api {
	t.Helper()
	var (
		mu  sync.Mutex
		now = start
	)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
	records := catalogtest.New()
	for _, id := range []string{"central", "dcn1", "dcn2"} {
		records.Put(catalog.SiteKey(image.SiteID(id)), &storev1.Site{Id: id})
		records.Put(catalog.StoreKey(image.StoreID(id)), &storev1.Store{Id: id, SiteId: id, Driver: "ceph", Fsid: "f-" + id, Pool: "images"})
	}
	rules, err := policy.New(options)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t: t, records: records, catalog: catalog.New(records, "central", limits, clock), placed: &placed{}}
	index := NewIndex(a.catalog)
	t.Cleanup(index.Close)
	a.server = New(Config{Catalog: a.catalog, Index: index, Policy: rules, Now: clock})
	a.server.locations = a.placed
	rt := imageapi.NewRouter()
	a.server.Routes(rt)
	a.Handler = rt.Serve(imageapi.Options{Verifier: names{}, Sites: true})
	return a
}

func defaultAPI(t testing.TB) *api {
	t.Helper()
	return newAPI(t, catalog.DefaultLimits(), policy.Options{})
}

// protected returns options with a protection file in the format "roles".
func protected(t *testing.T, lines ...string) policy.Options {
	t.Helper()
	return policy.Options{ProtectionFile: file(t, "protections.conf", lines...), ProtectionFormat: "roles"}
}

// rules returns options with a policy file.
func rules(t *testing.T, lines ...string) policy.Options {
	t.Helper()
	return policy.Options{File: file(t, "policy.yaml", lines...)}
}

func file(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answer is an answer with its JSON object, if it is one.
type answer struct {
	*httptest.ResponseRecorder
	json map[string]any
}

// do makes a request. Headers come in pairs; the content type of a PATCH is the new one unless they say otherwise.
func (a *api) do(who, method, path, body string, headers ...string) answer {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("X-Auth-Token", who)
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", imageapi.PatchV21)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := answer{ResponseRecorder: httptest.NewRecorder()}
	a.ServeHTTP(w, r)
	if text := w.Body.Bytes(); len(text) > 0 && text[0] == '{' {
		if err := json.Unmarshal(text, &w.json); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return w
}

// want fails the test unless the answer has the status.
func (a *api) want(code int, who, method, path, body string, headers ...string) answer {
	a.t.Helper()
	w := a.do(who, method, path, body, headers...)
	if w.Code != code {
		a.t.Fatalf("%s %s by %s: got %d %s, want %d", method, path, who, w.Code, w.Body, code)
	}
	return w
}

// create makes an image and returns its id.
func (a *api) create(who, body string) string {
	a.t.Helper()
	id, _ := a.want(http.StatusCreated, who, "POST", "/v2/images", body).json["id"].(string)
	return id
}

// put stores a record of an image as other parts of the hub leave it, with a copy in each of the stores.
func (a *api) put(img *storev1.Image, stores ...string) string {
	a.t.Helper()
	if img.Id == "" {
		img.Id = string(image.NewID())
	}
	if img.CreateTime == nil {
		img.CreateTime, img.UpdateTime = timestamppb.New(start), timestamppb.New(start)
	}
	a.records.Put(catalog.ImageKey(image.ID(img.Id)), img)
	for _, s := range stores {
		a.records.Put(catalog.ReplicaKey(image.ID(img.Id), image.StoreID(s)), &storev1.Replica{
			ImageId: img.Id, StoreId: s, SiteId: s, Phase: storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, Location: location4(s, img.Id),
		})
	}
	return img.Id
}

// active returns the record of an image with data that belongs to a project.
func active(owner string, visibility storev1.Visibility) *storev1.Image {
	return &storev1.Image{
		Name: "cirros", Status: storev1.ImageStatus_IMAGE_STATUS_ACTIVE, Owner: owner, Visibility: visibility,
		DiskFormat: "raw", ContainerFormat: "bare",
		Content: &storev1.Content{
			Id: string(image.NewID()), Complete: true, SizeBytes: 1 << 30, Md5: strings.Repeat("0", 32), Sha512: strings.Repeat("1", 128),
		},
	}
}

func location4(store, id string) string { return "rbd://f-" + store + "/images/" + id + "/snap" }

// placed notes what is asked of it about locations.
type placed struct {
	mu      sync.Mutex
	added   []string
	expects []*storev1.Expected
	removed []image.StoreID
}

func (p *placed) AddLocation(_ context.Context, _ image.ID, url string, expected *storev1.Expected) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.added, p.expects = append(p.added, url), append(p.expects, expected)
	return nil
}

func (p *placed) RemoveLocation(_ context.Context, _ image.ID, store image.StoreID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = append(p.removed, store)
	return nil
}
