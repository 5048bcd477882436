package imageapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func request(body io.Reader, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v2/x", body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestReadJSON(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		code int // 0: accepted
	}{
		"object":            {`{"name":"é"}`, 0},
		"list":              {`{"list":[]}`, 0},
		"white space":       {" \t\r\n{}", 0},
		"deep":              {`{"v":` + strings.Repeat("[", MaxJSONDepth-1) + strings.Repeat("]", MaxJSONDepth-1) + "}", 0},
		"empty":             {"", 400},
		"text":              {`"x"`, 400},
		"null":              {"null", 400},
		"number":            {"12", 400},
		"cut":               {`{"name":`, 400},
		"unbalanced":        {`{"name":1]`, 400},
		"two values":        {`{} {}`, 400},
		"rest":              {`{} x`, 400},
		"too deep":          {`{"v":` + strings.Repeat("[", MaxJSONDepth) + strings.Repeat("]", MaxJSONDepth) + "}", 400},
		"far too deep":      {strings.Repeat("[", 100000), 400},
		"not UTF-8":         {"{\"name\":\"\xff\"}", 400},
		"NUL":               {`{"name":"\u0000"}`, 400},
		"NUL in a key":      {`{"a\u0000":"x"}`, 400},
		"four bytes":        {`{"name":"😀"}`, 400},
		"escaped, the same": {`{"name":"\ud83d\ude00"}`, 400},
		"another type":      {`{"name":1}`, 400},
		"list for object":   {`[]`, 400},
		"too large":         {`{"name":"` + strings.Repeat("x", 200000) + `"}`, 413},
	} {
		for _, chunked := range []bool{false, true} {
			r := request(strings.NewReader(c.body))
			if chunked {
				r.ContentLength = -1
			}
			var v struct {
				Name string
				List []string
				V    any
			}
			err := ReadJSON(r, 150000, &v)
			switch {
			case c.code == 0 && err != nil:
				t.Errorf("%s: %v", name, err)
			case c.code != 0 && (err == nil || StatusOf(err) != c.code):
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	if err := ReadJSON(request(strings.NewReader(`{"v":"`+strings.Repeat("x", MaxJSON)+`"}`)), 0, &struct{}{}); StatusOf(err) != 413 {
		t.Error(err)
	}
	if err := ReadJSON(request(failing{os.ErrDeadlineExceeded}), 0, &struct{}{}); StatusOf(err) != 408 {
		t.Error(err)
	}
	if err := ReadJSON(request(failing{io.ErrUnexpectedEOF}), 0, &struct{}{}); StatusOf(err) != 400 {
		t.Error(err)
	}
}

func TestNoBody(t *testing.T) {
	if err := NoBody(request(nil)); err != nil {
		t.Error(err)
	}
	if err := NoBody(request(strings.NewReader("{}"))); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	for body, wrong := range map[string]bool{"": false, "x": true} {
		chunked := request(strings.NewReader(body))
		chunked.ContentLength, chunked.TransferEncoding = -1, []string{"chunked"}
		if err := NoBody(chunked); fault.Is(err, fault.Invalid) != wrong {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"short": "short", strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 65): strings.Repeat("x", 64) + "...",
		strings.Repeat("x", 63) + "éé": strings.Repeat("x", 63) + "...", strings.Repeat("\xbf", 70): strings.Repeat("\xbf", 64) + "...",
	} {
		if got := clip(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"id", "status", "size", "checksum", "self", "stores", "os_hash_value"} {
		if !ReadOnly(name) || !Base(name) {
			t.Error(name)
		}
	}
	for _, name := range []string{"location", "deleted", "deleted_at", "os_glance_import_task", "os_glancefoo", "atoll_signature"} {
		if !Reserved(name) || ReadOnly(name) {
			t.Error(name)
		}
	}
	for _, name := range []string{"name", "tags", "visibility", "owner", "locations"} {
		if ReadOnly(name) || Reserved(name) || !Base(name) || CreateReadOnly(name) {
			t.Error(name)
		}
	}
	if CreateReadOnly("id") || !CreateReadOnly("status") || Base("os_distro") || Reserved("os_distro") || Derived("os_distro") || !Derived("atoll_x") {
		t.Error("who may set what")
	}
}
