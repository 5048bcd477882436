package imageapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		name, method, url, public, accept, href string
		code                                    int
	}{
		{name: "root", url: "/", code: 300, href: "http://example.com/v2/"},
		{name: "versions", url: "/versions", code: 200, href: "http://example.com/v2/"},
		{name: "old version", url: "/v1/images", code: 300, href: "http://example.com/v2/"},
		{name: "too new", url: "/v2.18/images", code: 300, href: "http://example.com/v2/"},
		{name: "odd minor", url: "/v2.07/images", code: 300, href: "http://example.com/v2/"},
		{name: "unknown first segment", url: "/images", code: 300, href: "http://example.com/v2/"},
		{name: "empty first segment", url: "//v2/images", code: 300, href: "http://example.com/v2/"},
		{name: "post", method: http.MethodPost, url: "/", code: 300, href: "http://example.com/v2/"},
		{name: "public endpoint", url: "/", public: "https://glance.example.org/image/", code: 300, href: "https://glance.example.org/image/v2/"},
		{name: "site", url: "/site/dcn0", code: 300, href: "http://example.com/site/dcn0/v2/"},
		{name: "site with slash", url: "/site/dcn0/", code: 300, href: "http://example.com/site/dcn0/v2/"},
		{name: "site's versions", url: "/site/dcn0/versions", public: "https://g", code: 200, href: "https://g/site/dcn0/v2/"},
		{name: "unknown in Accept", url: "/v2/images", accept: "application/vnd.openstack.images-v3", code: 300, href: "http://example.com/v2/"},
		{name: "TLS", url: "https://example.com/", code: 300, href: "https://example.com/v2/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.options.PublicEndpoint = c.public
			a := b.do(c.method, c.url, "", "", "Accept", c.accept).want(c.code)
			a.header("Content-Type", "application/json")
			var ids []string
			for i, v := range a.object()["versions"].([]any) {
				v := v.(map[string]any)
				link := v["links"].([]any)[0].(map[string]any)
				if link["href"] != c.href || link["rel"] != "self" {
					t.Errorf("link %v, want %s", link, c.href)
				}
				if want := map[bool]string{true: "CURRENT", false: "SUPPORTED"}[i == 0]; v["status"] != want {
					t.Errorf("%v is %v", v["id"], v["status"])
				}
				ids = append(ids, fmt.Sprint(v["id"]))
			}
			if got := strings.Join(ids, " "); got != "v2.17 v2.15 v2.13 v2.12 v2.11 v2.10 v2.9 v2.8 v2.7 v2.6 v2.5 v2.4 v2.3 v2.2 v2.1 v2.0" {
				t.Error(got)
			}
		})
	}
}

func TestVersionAliases(t *testing.T) {
	b := newBench(t, sample(1))
	for minor := range newestMinor + 1 {
		b.get(fmt.Sprintf("/v2.%d/images/%s", minor, id(1)), "alpha").want(200)
	}
	b.get("/images/"+string(id(1)), "alpha", "Accept", "application/vnd.openstack.images-v2.3").want(200)
	b.get("/v2/images/"+string(id(1)), "alpha", "Accept", "application/vnd.openstack.images-v2").want(200)
	b.get("/", "alpha", "Accept", "application/vnd.openstack.images-v2").want(300)
}

func TestHealthcheck(t *testing.T) {
	var sick error
	b := newBench(t)
	b.options.Healthcheck = func() error { return sick }
	if got := b.get("/healthcheck", "").want(200).Body.String(); got != "OK" {
		t.Error(got)
	}
	b.do(http.MethodPost, "/healthcheck", "", "").want(405).header("Allow", "GET, HEAD")
	sick = fault.New(fault.Unavailable, "NO_CATALOG", "DISABLED BY FILE")
	if got := b.get("/healthcheck", "").want(503).Body.String(); got != "DISABLED BY FILE" {
		t.Error(got)
	}
}

func TestRequestID(t *testing.T) {
	b := newBench(t, sample(1))
	for _, c := range []struct {
		sent, got string
		code      int
	}{
		{"", "req-?", 200},
		{"abc", "req-abc", 200},
		{"req-abc", "req-abc", 200},
		{strings.Repeat("x", 64), "req-" + strings.Repeat("x", 64), 200},
		{strings.Repeat("x", 65), "req-?", 431},
		{"a b", "req-?", 200},
		{"é", "req-?", 200},
	} {
		got := b.get("/v2/images", "alpha", "X-OpenStack-Request-ID", c.sent).want(c.code).Header().Get("X-Openstack-Request-Id")
		if c.got == "req-?" {
			if len(got) != 40 || !strings.HasPrefix(got, "req-") {
				t.Errorf("%q: got %q", c.sent, got)
			}
		} else if got != c.got {
			t.Errorf("%q: got %q", c.sent, got)
		}
	}
	if a := b.get("/", ""); !strings.HasPrefix(a.Header().Get("X-Openstack-Request-Id"), "req-") {
		t.Error("no request id with the versions")
	}
}

func TestAuthentication(t *testing.T) {
	b := newBench(t, sample(1))
	b.options.AuthURI = "https://keystone.example.org/v3"
	for _, url := range []string{"/v2/images", "/v2/schemas/image", "/v2/nothing", "/v2", "/v2/"} {
		b.get(url, "").want(401).header("Www-Authenticate", `Keystone uri="https://keystone.example.org/v3"`)
	}
	b.get("/v2/images", "stolen").want(401)
	b.tokens.errs = []error{fault.New(fault.Unavailable, "NO_KEYSTONE", "the identity service does not answer")}
	b.get("/v2/images", "alpha").want(503).header("Retry-After", "5")
	b.tokens.errs = []error{errors.New("dial tcp 10.1.2.3:5000")}
	if a := b.get("/v2/images", "alpha").want(500); strings.Contains(a.Body.String(), "10.1.2.3") {
		t.Error(a.Body)
	}
	b.get("/v2", "alpha").want(404)
	b.get("/v2/", "alpha").want(404)
}

func TestCallerInContext(t *testing.T) {
	b := newBench(t)
	var seen []auth.Caller
	var tokens []string
	b.router.Handle(http.MethodGet, "/v2/me", func(w http.ResponseWriter, r *http.Request) error {
		seen, tokens = append(seen, *auth.From(r.Context())), append(tokens, auth.TokenFrom(r.Context()))
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	b.tokens.callers["edge"] = &auth.Caller{UserID: "e", Site: "dcn7"}
	b.get("/v2/me", "alpha", "X-OpenStack-Request-ID", "1").want(204)
	b.get("/site/dcn0/v2/me", "edge").want(204)
	b.get("/v2/me", "edge", "X-Service-Token", "nova").want(204)
	if seen[0].RequestID != "req-1" || seen[0].Site != "" || seen[1].Site != "dcn0" || seen[2].Site != "dcn7" || len(seen[2].ServiceRoles) != 1 {
		t.Errorf("%+v", seen)
	}
	if !slices.Equal(tokens, []string{"alpha", "edge", "edge"}) {
		t.Errorf("tokens %q", tokens)
	}
	if b.tokens.callers["edge"].Site != "dcn7" {
		t.Error("the shared caller was changed")
	}
	b.get("/site/Bad!/v2/me", "alpha").want(404)
	b.options.Sites, b.handler, b.router, b.options.Registry = false, nil, NewRouter(), nil
	b.get("/site/dcn0/v2/images", "alpha").want(300)
}

func TestLimit(t *testing.T) {
	b := newBench(t)
	b.options.Limit = func(c *auth.Caller) error {
		if c.ProjectID == "beta" {
			return fault.New(fault.Exhausted, "RATE", "too many requests")
		}
		return nil
	}
	b.get("/v2/images", "beta").want(429).header("Retry-After", "1")
	b.get("/v2/images", "alpha").want(200)
	b.get("/v2/images", "").want(401)
}

func TestTooManyRequests(t *testing.T) {
	b := newBench(t)
	b.options.MaxRequests = 1
	b.router.Handle(http.MethodGet, "/v2/outer", func(w http.ResponseWriter, _ *http.Request) error {
		b.get("/v2/images", "alpha").want(503).header("Retry-After", "5")
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	b.get("/v2/outer", "alpha").want(204)
	b.get("/v2/images", "alpha").want(200)
}

func TestMethods(t *testing.T) {
	b := newBench(t, sample(1))
	b.router.Handle(http.MethodPatch, "/v2/images/{id}", func(http.ResponseWriter, *http.Request) error { return nil })
	url := "/v2/images/" + string(id(1))
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodTrace} {
		b.do(method, url, "alpha", "").want(405).header("Allow", "GET, PATCH")
	}
	b.do("BREW", url, "alpha", "").want(501)
	b.do("BREW", "/v2/nothing", "alpha", "").want(501)
	b.do(http.MethodOptions, "/v2/nothing", "alpha", "").want(501)
	b.do(http.MethodPut, "/v2/nothing", "alpha", "").want(404)
	b.get(url+"/", "alpha").want(404)
	b.get(url+"/members/", "alpha").want(404)
}

func TestRouterValues(t *testing.T) {
	b := newBench(t)
	var tag string
	b.router.Handle(http.MethodPut, "/v2/images/{id}/tags/{tag}", func(_ http.ResponseWriter, r *http.Request) error {
		tag = r.PathValue("id") + "|" + r.PathValue("tag")
		return nil
	})
	for sent, want := range map[string]string{"a%2Fb": "x|a/b", "a%20b": "x|a b", "%C3%A9": "x|é", "..": "x|.."} {
		tag = ""
		b.do(http.MethodPut, "/v2/images/x/tags/"+sent, "alpha", "").want(200)
		if tag != want {
			t.Errorf("%s: got %q", sent, tag)
		}
	}
	b.do(http.MethodPut, "/v2/images/x/tags/a/b", "alpha", "").want(404)
	b.get("/v2/schemas/image", "alpha").want(200)
}

func TestRouterMistakes(t *testing.T) {
	none := func(http.ResponseWriter, *http.Request) error { return nil }
	for name, add := range map[string]func(*Router){
		"twice":         func(rt *Router) { rt.Handle("GET", "/a/{b}", none) },
		"another value": func(rt *Router) { rt.Handle("GET", "/a/{c}/d", none) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name, "is accepted")
				}
			}()
			rt := NewRouter()
			rt.Handle("GET", "/a/{b}", none)
			add(rt)
		}()
	}
}

func TestBounds(t *testing.T) {
	b := newBench(t)
	b.get("/v2/images?name="+strings.Repeat("x", MaxURL), "alpha").want(414)
	b.get("/v2/images", "alpha", "X-Large", strings.Repeat("x", MaxHeader)).want(431)
	for _, url := range []string{
		"/v2/images?name=%ff", "/v2/images/%ff", "/v2/images?name=%F0%9F%98%80", "/v2/images/%F0%9F%98%80", "/v2/images?name=%00",
		"/v2/images/a%00", "/v2/images?name=%zz", "/v2/images?%zz=1",
	} {
		b.get(url, "alpha").want(400)
	}
	b.get("/v2/images?name=%C3%A9", "alpha").want(200)
	b.get("/v2/images?"+strings.Repeat("a=1&", maxQueryPairs+1), "alpha").want(400)
	for _, url := range []string{
		"/v2/images", "/v2/images/" + string(id(1)), "/v2/images/" + string(id(1)) + "/file", "/v2/images/" + string(id(1)) + "/members",
		"/v2/images/" + string(id(1)) + "/members/beta", "/v2/schemas/image", "/v2/info/stores", "/v2/info/stores/detail",
	} {
		a := b.do(http.MethodGet, url, "alpha", "{}").want(400)
		if a.object()["message"] != "A body is not expected with this request." {
			t.Error(a.Body)
		}
	}
}

func TestErrorForms(t *testing.T) {
	b := newBench(t)
	bad := fault.New(fault.Exists, "X", "<b>already</b> \"there\"")
	b.router.Handle(http.MethodGet, "/v2/bad", func(http.ResponseWriter, *http.Request) error { return bad })
	for _, c := range []struct{ accept, kind string }{
		{"", "application/json"},
		{"*/*", htmlType},
		{"application/json", "application/json"},
		{"application/json, */*", "application/json"},
		{"text/html, application/json;q=0.1", "application/json"},
		{"application/octet-stream", "application/json"},
		{"text/html", htmlType},
		{"text/html;q=0.9, text/plain", htmlType},
		{"text/plain", plainType},
		{"TEXT/*", plainType},
	} {
		a := b.get("/v2/bad", "alpha", "Accept", c.accept).want(409).header("Content-Type", c.kind)
		switch c.kind {
		case htmlType:
			if got := a.Body.String(); strings.Contains(got, "<b>") || !strings.Contains(got, "&lt;b&gt;already") {
				t.Error(got)
			}
		case plainType:
			if got := a.Body.String(); got != "409 Conflict\n\n<b>already</b> \"there\"\n" {
				t.Error(got)
			}
		default:
			if got := a.object(); got["message"] != bad.Message || got["code"] != "409 Conflict" || got["title"] != "Conflict" || len(got) != 3 {
				t.Error(got)
			}
		}
	}
}

func TestStatuses(t *testing.T) {
	for class, code := range map[fault.Class]int{
		fault.Internal: 500, fault.Invalid: 400, fault.NotFound: 404, fault.Exists: 409, fault.Precondition: 409, fault.Conflict: 409,
		fault.Denied: 403, fault.Unauthenticated: 401, fault.Exhausted: 413, fault.Unavailable: 503, fault.Timeout: 504,
		fault.Cancelled: 410, fault.Corrupt: 500, fault.Class(99): 500,
	} {
		err := fmt.Errorf("around: %w", fault.New(class, "R", "m"))
		if got := StatusOf(err); got != code {
			t.Errorf("%v: got %d", class, got)
		}
		if got := StatusOf(fmt.Errorf("around: %w", Status(err, 418))); got != 418 {
			t.Errorf("%v: got %d", class, got)
		}
		if got := fault.ClassOf(Status(err, 418)); got != class {
			t.Errorf("%v: got %v", class, got)
		}
	}
	if Status(nil, 400) != nil {
		t.Error("no error became one")
	}
}

func TestPanicsAndLateErrors(t *testing.T) {
	b := newBench(t)
	b.router.Handle(http.MethodGet, "/v2/panic", func(http.ResponseWriter, *http.Request) error { panic("secret path /etc/ceph") })
	b.router.Handle(http.MethodGet, "/v2/late-panic", func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		panic("late")
	})
	b.router.Handle(http.MethodGet, "/v2/late-error", func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = w.Write([]byte("half"))
		return fault.New(fault.Unavailable, "GONE", "the store is gone")
	})
	if got := b.get("/v2/panic", "alpha").want(500).Body.String(); strings.Contains(got, "secret") {
		t.Error(got)
	}
	for _, url := range []string{"/v2/late-panic", "/v2/late-error"} {
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("%s: the answer is not cut: %v", url, err)
				}
			}()
			b.get(url, "alpha")
		}()
	}
	if got := b.log.String(); strings.Count(got, "handler panicked") != 2 || !strings.Contains(got, "the store is gone") {
		t.Error(got)
	}
}

func TestLogAndMetrics(t *testing.T) {
	b := newBench(t, sample(1))
	registry := prometheus.NewRegistry()
	b.options.Registry = registry
	b.get("/v2/images/"+string(id(1)), "alpha", "X-Service-Token", "nova").want(200)
	b.get("/v2/images/"+string(id(2)), "alpha").want(404)
	b.get("/v2/nothing", "alpha").want(404)
	b.do("BREW", "/v2/images", "alpha", "").want(501)
	if got := b.log.String(); strings.Contains(got, "nova") || !strings.Contains(got, "status=200") || !strings.Contains(got, "project=alpha") {
		t.Error(got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, m := range families[0].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() != "code" {
				routes = append(routes, l.GetValue())
			}
		}
	}
	if got := strings.Join(routes, " "); got != "GET /v2/images/{id} GET /v2/images/{id} GET none other /v2/images" {
		t.Error(got)
	}
}
