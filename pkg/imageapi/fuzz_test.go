package imageapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzReadPatch(f *testing.F) {
	for _, body := range []string{
		`[]`, `[{"op":"add","path":"/a~1b","value":"x"}]`, `[{"add":"/locations/-","value":{}}]`, `[{"op":"remove","path":"/locations/0"}]`,
		`[null]`, `[{"op":"replace","path":"//","value":1}]`,
	} {
		f.Add(body, true)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, body string, old bool) {
		media := PatchV21
		if old {
			media = PatchV20
		}
		ops, err := ReadPatch(request(strings.NewReader(body), "Content-Type", media))
		if err != nil {
			if code := StatusOf(err); code != 400 && code != 413 {
				t.Fatalf("%v is answered with %d", err, code)
			}
			return
		}
		for _, op := range ops {
			if len(op.Path) < 1 || len(op.Path) > 2 || op.Path[0] == "" || len(op.Path) == 2 && op.Path[0] != "locations" || op.Draft4 != old {
				t.Fatalf("%+v", op)
			}
			if (op.Value == nil) != (op.Op == "remove") || op.Value != nil && !json.Valid(op.Value) {
				t.Fatalf("%+v", op)
			}
		}
	})
}

func FuzzReadJSON(f *testing.F) {
	for _, body := range []string{`{}`, `{"a":[{"b":null}]}`, `{"a":"\u0000"}`, "{\"a\":\"\xff\"}", `[[[[]]]]`, `{"a":"\ud83d\ude00"}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var v any
		if err := ReadJSON(request(bytes.NewReader(body)), 0, &v); err != nil {
			if code := StatusOf(err); code != 400 && code != 413 {
				t.Fatalf("%v is answered with %d", err, code)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("%q was accepted", body)
		}
		walk(t, v, 0)
	})
}

// walk checks what a decoded value may hold.
func walk(t *testing.T, v any, depth int) {
	t.Helper()
	if depth > MaxJSONDepth {
		t.Fatal("too deep")
	}
	switch v := v.(type) {
	case string:
		if CheckText("", v) != nil {
			t.Fatalf("%q", v)
		}
	case []any:
		for _, e := range v {
			walk(t, e, depth+1)
		}
	case map[string]any:
		for k, e := range v {
			walk(t, k, depth+1)
			walk(t, e, depth+1)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", "limit=2&marker=" + string(id(1)), "sort=name:asc,size", "sort_key=name&sort_dir=asc", `name=in:"a,b",c`, "created_at=gte:2026-11-21",
		"size_min=1&tag=x&visibility=all", "os_distro=%C3%A9", "%zz", "a=%00",
	} {
		f.Add(query)
	}
	b := newBench(f, append(rows(), matrix()[4:]...)...)
	b.options.Log = nil
	b.get("/v2/images", "beta")
	f.Fuzz(func(t *testing.T, raw string) {
		r := httptest.NewRequest(http.MethodGet, "/v2/images", nil)
		r.URL.RawQuery = raw
		r.Header.Set("X-Auth-Token", "beta")
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 && w.Code != 414 {
			t.Fatalf("%q is answered with %d", raw, w.Code)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q is answered with %s", raw, w.Body)
		}
		if w.Code != 200 {
			return
		}
		var page struct{ First, Next string }
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		for _, link := range []string{page.First, page.Next} {
			if link == "" {
				continue
			}
			_, query, _ := strings.Cut(link, "?")
			if _, err := parseQuery(query); err != nil {
				t.Fatalf("%q links to %q: %v", raw, link, err)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, text := range []string{"bytes=0-1", "bytes=-5", "bytes=9-", "bytes 0-1/10", "bytes=0-1,2-3", "bytes=99999999999999999999-"} {
		f.Add(text, int64(10), true)
		f.Add(text, int64(0), false)
	}
	f.Fuzz(func(t *testing.T, text string, size int64, modern bool) {
		if size < 0 || text == "" {
			return
		}
		h := http.Header{"Content-Range": {text}}
		if modern {
			h = http.Header{"Range": {text}}
		}
		part, whole, err := parseRange(h, size)
		if err != nil {
			return
		}
		if whole || part.offset < 0 || part.length <= 0 || part.offset+part.length > size {
			t.Fatalf("%q of %d is %+v", text, size, part)
		}
	})
}
