package imageapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestReadPatch(t *testing.T) {
	for _, c := range []struct{ media, body, want string }{
		{PatchV21, `[]`, ""},
		{PatchV21, `[{"op":"add","path":"/a","value":"x"}]`, `add [a] "x"`},
		{PatchV21, `[{"op":"replace","path":"/name","value":null},{"op":"remove","path":"/b"}]`, `replace [name] null|remove [b] `},
		{PatchV21, `[{"op":"remove","path":"/b","value":1}]`, `remove [b] `},
		{PatchV21, `[{"op":"add","path":"/a~1b~0c~01","value":1}]`, `add [a/b~c~1] 1`},
		{PatchV21, `[{"op":"add","path":"/locations/-","value":{}}]`, `add [locations -] {}`},
		{PatchV21, `[{"op":"remove","path":"/locations/0"}]`, `remove [locations 0] `},
		{PatchV21, `[{"op":"replace","path":"/locations","value":[]}]`, `replace [locations] []`},
		{PatchV20, `[{"add":"/a","value":"x"}]`, `add [a] "x" old`},
		{PatchV20, `[{"replace":"/a","value":"x"},{"remove":"/b"}]`, `replace [a] "x" old|remove [b]  old`},
		{PatchV21 + "; charset=utf-8", `[{"op":"remove","path":"/b"}]`, `remove [b] `},
	} {
		ops, err := ReadPatch(request(strings.NewReader(c.body), "Content-Type", c.media))
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		var got []string
		for _, op := range ops {
			text := fmt.Sprintf("%s %v %s", op.Op, op.Path, op.Value)
			if op.Draft4 {
				text += " old"
			}
			got = append(got, text)
		}
		if got := strings.Join(got, "|"); got != c.want {
			t.Errorf("%s: got %q", c.body, got)
		}
	}
}

func TestBadPatches(t *testing.T) {
	one := func(path string) string { return fmt.Sprintf(`[{"op":"add","path":%q,"value":"x"}]`, path) }
	for name, c := range map[string]struct {
		media, body string
		code        int
	}{
		"other media type":     {"application/json", `[]`, 415},
		"no media type":        {"", `[]`, 415},
		"odd media type":       {"//", `[]`, 415},
		"object":               {PatchV21, `{}`, 400},
		"list of texts":        {PatchV21, `["x"]`, 400},
		"list of null":         {PatchV21, `[null]`, 400},
		"list of null, old":    {PatchV20, `[null]`, 400},
		"no op":                {PatchV21, `[{"path":"/a","value":"x"}]`, 400},
		"op is a number":       {PatchV21, `[{"op":1,"path":"/a","value":"x"}]`, 400},
		"move":                 {PatchV21, `[{"op":"move","path":"/a","from":"/b"}]`, 400},
		"copy":                 {PatchV21, `[{"op":"copy","path":"/a","from":"/b"}]`, 400},
		"test":                 {PatchV21, `[{"op":"test","path":"/a","value":"x"}]`, 400},
		"no path":              {PatchV21, `[{"op":"add","value":"x"}]`, 400},
		"path is a number":     {PatchV21, `[{"op":"add","path":7,"value":"x"}]`, 400},
		"no value":             {PatchV21, `[{"op":"add","path":"/a"}]`, 400},
		"no value for replace": {PatchV21, `[{"op":"replace","path":"/a"}]`, 400},
		"old form as new":      {PatchV21, `[{"add":"/a","value":"x"}]`, 400},
		"new form as old":      {PatchV20, `[{"op":"add","path":"/a","value":"x"}]`, 400},
		"two ops":              {PatchV20, `[{"add":"/a","remove":"/b","value":"x"}]`, 400},
		"no op, old":           {PatchV20, `[{"value":"x"}]`, 400},
		"path is null, old":    {PatchV20, `[{"add":3,"value":"x"}]`, 400},
		"empty path":           {PatchV21, one(""), 400},
		"no slash":             {PatchV21, one("a"), 400},
		"slash only":           {PatchV21, one("/"), 400},
		"slash at the end":     {PatchV21, one("/a/"), 400},
		"two slashes":          {PatchV21, one("//a"), 400},
		"two slashes inside":   {PatchV21, one("/locations//0"), 400},
		"lone tilde":           {PatchV21, one("/a~"), 400},
		"other escape":         {PatchV21, one("/a~2"), 400},
		"two parts":            {PatchV21, one("/a/b"), 400},
		"tags by position":     {PatchV21, one("/tags/0"), 400},
		"add all locations":    {PatchV21, one("/locations"), 400},
		"three parts":          {PatchV21, one("/locations/0/url"), 400},
		"remove all locations": {PatchV21, `[{"op":"remove","path":"/locations"}]`, 400},
		"replace a location":   {PatchV21, `[{"op":"replace","path":"/locations/0","value":{}}]`, 400},
		"long path":            {PatchV21, one("/" + strings.Repeat("a", 1024)), 400},
		"four bytes in a path": {PatchV21, one("/😀"), 400},
		"too many":             {PatchV21, "[" + strings.Repeat(`{"op":"remove","path":"/a"},`, MaxPatchOps) + `{"op":"remove","path":"/a"}]`, 413},
		"too large":            {PatchV21, one("/" + strings.Repeat("a", MaxJSON)), 413},
	} {
		_, err := ReadPatch(request(strings.NewReader(c.body), "Content-Type", c.media))
		if err == nil || StatusOf(err) != c.code {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAcceptPatch(t *testing.T) {
	b := newBench(t)
	b.router.Handle("PATCH", "/v2/images/{id}", func(_ http.ResponseWriter, r *http.Request) error {
		_, err := ReadPatch(r)
		return err
	})
	b.do("PATCH", "/v2/images/x", "alpha", "[]", "Content-Type", "application/json").want(415).header("Accept-Patch", PatchV21+", "+PatchV20)
}
