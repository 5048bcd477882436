package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// plain is a client that follows nothing and keeps its connections, but never so long that a server could just be closing one that
// it takes again.
var plain = &http.Client{
	Timeout:       3 * time.Minute,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Answer is what a raw request got.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte

	t    *testing.T
	what string
}

// Call makes one request of the Image API with the user's token. path starts with "/v2" or is a whole URL. body is nil, a
// string, bytes or a reader, which are sent as they are, or anything else, which is sent as JSON. header holds names and
// values in turn; an empty value removes a header that Call would have set.
func (a *Actor) Call(method, path string, body any, header ...string) *Answer {
	a.T.Helper()
	var reader io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	case io.Reader:
		reader = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			a.T.Fatal(err)
		}
		reader, kind = bytes.NewReader(text), "application/json"
	}
	if strings.HasPrefix(path, "/") {
		path = a.base + path
	}
	req, err := http.NewRequestWithContext(a.T.Context(), method, path, reader)
	if err != nil {
		a.T.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if token := a.Token(); token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for pair := range slices.Chunk(header, 2) {
		if pair[1] == "" {
			req.Header.Del(pair[0])
			continue
		}
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := plain.Do(req)
	if err != nil {
		a.T.Fatalf("%s: %s %s: %v", a.Name, method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		a.T.Fatalf("%s: %s %s: %v", a.Name, method, path, err)
	}
	return &Answer{Code: resp.StatusCode, Header: resp.Header, Body: got, t: a.T, what: a.Name + ": " + method + " " + path}
}

// Patch changes an image by operations of the newer media type.
func (a *Actor) Patch(id string, ops ...map[string]any) *Answer {
	a.T.Helper()
	if ops == nil {
		ops = []map[string]any{}
	}
	return a.Call(http.MethodPatch, "/v2/images/"+id, ops, "Content-Type", "application/openstack-images-v2.1-json-patch")
}

// Op is one operation of a patch; a nil value is left out.
func Op(op, path string, value any) map[string]any {
	m := map[string]any{"op": op, "path": path}
	if value != nil {
		m["value"] = value
	}
	return m
}

// Is checks the status of an answer and returns the answer.
func (an *Answer) Is(codes ...int) *Answer {
	an.t.Helper()
	if !slices.Contains(codes, an.Code) {
		body := an.Body[:min(len(an.Body), 600)]
		an.t.Fatalf("%s: status %d, want %v\n%s", an.what, an.Code, codes, body)
	}
	return an
}

// JSON returns the answer's JSON object.
func (an *Answer) JSON() Object {
	an.t.Helper()
	var o Object
	if err := json.Unmarshal(an.Body, &o); err != nil {
		an.t.Fatalf("%s: %v\n%s", an.what, err, an.Body[:min(len(an.Body), 600)])
	}
	return o
}

// Object is a JSON object of an answer.
type Object map[string]any

// Text returns a member that is a string; empty when it is not there or something else.
func (o Object) Text(name string) string {
	s, _ := o[name].(string)
	return s
}

// List returns the members of a comma-separated list, as the Image API has them.
func (o Object) List(name string) []string {
	if o.Text(name) == "" {
		return nil
	}
	return strings.Split(o.Text(name), ",")
}

// Objects returns a member that is an array of objects.
func (o Object) Objects(name string) []Object {
	array, _ := o[name].([]any)
	var all []Object
	for _, v := range array {
		if m, ok := v.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// Image returns an image as the user sees it.
func (a *Actor) Image(id string) Object {
	a.T.Helper()
	return a.Call(http.MethodGet, "/v2/images/"+id, nil).Is(http.StatusOK).JSON()
}
