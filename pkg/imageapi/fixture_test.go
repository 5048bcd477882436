package imageapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

var start = time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)

// id returns the nth image's id.
func id(n int) image.ID { return image.ID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", n)) }

// sample returns an image created n seconds after the start.
func sample(n int, change ...func(*Image)) *Image {
	img := &Image{
		ID: id(n), Name: fmt.Sprintf("image %d", n), Status: Active, Visibility: Public, Owner: "alpha", DiskFormat: "raw", ContainerFormat: "bare",
		Size: int64(n + 1), CreatedAt: start.Add(time.Duration(n) * time.Second), UpdatedAt: start.Add(time.Duration(n) * time.Minute),
	}
	for _, c := range change {
		c(img)
	}
	return img
}

// album is a Source.
type album []*Image

func newAlbum(images ...*Image) album {
	a := slices.Clone(images)
	slices.SortFunc(a, func(x, y *Image) int {
		return cmp.Or(y.CreatedAt.Compare(x.CreatedAt), strings.Compare(string(y.ID), string(x.ID)))
	})
	return a
}

func (a album) Images() Sequence { return NewSequence(a) }

func (a album) Image(id image.ID) *Image {
	for _, img := range a {
		if img.ID == id {
			return img
		}
	}
	return nil
}

// tokens is a Verifier. errs are the errors of the next calls.
type tokens struct {
	callers  map[string]*auth.Caller
	services map[string][]string
	errs     []error
}

func (v *tokens) Verify(_ context.Context, token, serviceToken string) (*auth.Caller, error) {
	if len(v.errs) > 0 {
		err := v.errs[0]
		v.errs = v.errs[1:]
		return nil, err
	}
	c := v.callers[token]
	if c == nil {
		return nil, fault.New(fault.Unauthenticated, "NO_TOKEN", "The request you have made requires authentication.")
	}
	if roles := v.services[serviceToken]; roles != nil {
		with := *c
		with.ServiceRoles = roles
		return &with, nil
	}
	return c, nil
}

func caller(project string, roles ...string) *auth.Caller {
	return &auth.Caller{UserID: "user-of-" + project, ProjectID: project, Roles: roles}
}

// stick is an Opener over bytes. errs are the errors of the next calls.
type stick struct {
	data   []byte
	errs   []error
	cut    int // bytes after which reading fails; 0: never
	prefer []string
	closed int
}

func (s *stick) Open(_ context.Context, _ *Image, prefer []string, offset, length int64) (io.ReadCloser, error) {
	s.prefer = prefer
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return nil, err
	}
	var r io.Reader = bytes.NewReader(s.data[offset : offset+length])
	if s.cut > 0 {
		r = io.MultiReader(io.LimitReader(r, int64(s.cut)), failing{errors.New("osd 10.0.0.7 is down")})
	}
	return closer{r, s}, nil
}

type closer struct {
	io.Reader
	s *stick
}

func (c closer) Close() error {
	c.s.closed++
	return nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// bench is an installation to send requests to.
type bench struct {
	t       testing.TB
	reads   *Reads
	router  *Router
	tokens  *tokens
	stick   *stick
	options Options
	log     bytes.Buffer
	handler http.Handler
}

// newBench returns one with the default rules and the tokens "admin", "alpha", "beta", "gamma" and "reader" (of alpha).
func newBench(t testing.TB, images ...*Image) *bench {
	t.Helper()
	rules, err := policy.New(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, router: NewRouter(), stick: &stick{data: []byte("0123456789")}}
	b.tokens = &tokens{
		callers: map[string]*auth.Caller{
			"admin": caller("ops", "admin", "member", "reader"),
			"alpha": caller("alpha", "member", "reader"),
			"beta":  caller("beta", "member", "reader"),
			"gamma": caller("gamma", "member", "reader"), "reader": caller("alpha", "reader"),
		},
		services: map[string][]string{"nova": {"service"}},
	}
	b.reads = &Reads{Source: newAlbum(images...), Policy: rules, Open: b.stick, Stores: func() []Store {
		return []Store{
			{ID: "central", Description: "the large one", Default: true, Type: "rbd", Weight: 10, Properties: map[string]any{"pool": "images"}},
			{ID: "dcn0", Type: "rbd"},
			{ID: "web", ReadOnly: true, Type: "http"},
		}
	}}
	b.options = Options{
		Verifier: b.tokens, Registry: prometheus.NewRegistry(), Sites: true,
		Log: hclog.New(&hclog.LoggerOptions{Output: &b.log, Level: hclog.Debug}),
	}
	return b
}

// answer is what came back.
type answer struct {
	t testing.TB
	*httptest.ResponseRecorder
}

func (a answer) want(code int) answer {
	a.t.Helper()
	if a.Code != code {
		a.t.Fatalf("status %d, want %d: %s", a.Code, code, a.Body)
	}
	return a
}

func (a answer) header(name, value string) answer {
	a.t.Helper()
	if got := a.Header().Get(name); got != value {
		a.t.Errorf("header %s is %q, want %q", name, got, value)
	}
	return a
}

// object returns the body as JSON.
func (a answer) object() map[string]any {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.Body)
	}
	return v
}

// numbers returns which images a list holds.
func (a answer) numbers() string {
	a.t.Helper()
	var page struct{ Images []struct{ ID string } }
	if err := json.Unmarshal(a.want(http.StatusOK).Body.Bytes(), &page); err != nil {
		a.t.Fatal(err)
	}
	var out []string
	for _, img := range page.Images {
		var n int
		if _, err := fmt.Sscanf(img.ID, "%08x", &n); err != nil {
			a.t.Fatal(err)
		}
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, " ")
}

// do sends a request. headers are names and values in turn.
func (b *bench) do(method, url, token, body string, headers ...string) answer {
	b.t.Helper()
	if b.handler == nil {
		b.reads.Register(b.router)
		b.handler = b.router.Serve(b.options)
	}
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, url, nil)
	} else {
		r = httptest.NewRequest(method, url, strings.NewReader(body))
	}
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return answer{b.t, w}
}

func (b *bench) get(url, token string, headers ...string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, url, token, "", headers...)
}
