package inject

import (
	"maps"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

type props = map[string]string

func TestParse(t *testing.T) {
	longKey, longValue := strings.Repeat("k", 255), strings.Repeat("v", 65535)
	tests := map[string]struct {
		in   []string
		want props
	}{
		"nothing":               {nil, props{}},
		"empty":                 {[]string{"", "  "}, props{}},
		"one":                   {[]string{"hw_disk_bus:scsi"}, props{"hw_disk_bus": "scsi"}},
		"list":                  {[]string{"a:1,b:2"}, props{"a": "1", "b": "2"}},
		"repeated":              {[]string{"a:1", "b:2,c:3"}, props{"a": "1", "b": "2", "c": "3"}},
		"spaces":                {[]string{" a : 1 , b : two words "}, props{"a": "1", "b": "two words"}},
		"colons":                {[]string{"url:http://x:1/,trait:HW:required"}, props{"url": "http://x:1/", "trait": "HW:required"}},
		"empty value":           {[]string{"a:,b:"}, props{"a": "", "b": ""}},
		"double quotes":         {[]string{`a:"x,y",b:z`}, props{"a": "x,y", "b": "z"}},
		"single quotes":         {[]string{`a:'x,"y" '  , b:z`}, props{"a": `x,"y" `, "b": "z"}},
		"quotes inside a value": {[]string{`a:it's,b:5"`}, props{"a": "it's", "b": `5"`}},
		"empty quotes":          {[]string{`a:""`}, props{"a": ""}},
		"signs":                 {[]string{"ключ:значение"}, props{"ключ": "значение"}},
		"longest":               {[]string{longKey + ":" + longValue}, props{longKey: longValue}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Parse(tt.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Apply(nil, props{}); !maps.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct{ in, says string }{
		"no colon":           {"a", `"a" is not key:value`},
		"no colon behind":    {"a:x,y", `"y" is not key:value`},
		"no colon between":   {"a:x,y,b:z", `"y" is not key:value`},
		"no key":             {":x", "1 to 255"},
		"long key":           {strings.Repeat("k", 256) + ":x", "1 to 255"},
		"long value":         {"k:" + strings.Repeat("v", 65536), "65535"},
		"no UTF-8":           {"k:\xff", "UTF-8"},
		"comma at the end":   {"a:x,", "comma"},
		"two commas":         {"a:x,,b:y", `"" is not key:value`},
		"open quote":         {`a:"x,y`, "no closing"},
		"behind the quote":   {`a:"x"y`, "behind its closing quote"},
		"twice":              {"a:x,a:y", "twice"},
		"of Glance":          {"os_glance_failed_import:x", "reserved"},
		"of Glance, no sign": {"os_glancefoo:x", "reserved"},
		"of Atoll":           {"atoll_source_format:raw", "reserved"},
		"location":           {"location:x", "reserved"},
		"owner":              {"owner:x", "attribute"},
		"checksum":           {"checksum:x", "attribute"},
		"signature":          {"img_signature_key_type:RSA-PSS", "signature"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]string{tt.in}, nil)
			text := fault.Public(err)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(text, tt.says) || !strings.HasPrefix(text, FlagProperties+":") {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := Parse(nil, []string{"admin", " "}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), FlagIgnoreRoles) {
		t.Errorf("a role without a name: %v", err)
	}
	if _, err := Parse([]string{"a:x", "a:y"}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("the same key in two flags: %v", err)
	}
}

func TestApply(t *testing.T) {
	r, err := Parse([]string{"a:rule,b:rule"}, []string{"Admin", "image-maker"})
	if err != nil {
		t.Fatal(err)
	}
	given := props{"a": "given", "c": "given"}
	injected := props{"a": "rule", "b": "rule", "c": "given"}
	tests := map[string]struct {
		roles []string
		in    props
		want  props
	}{
		"member":              {[]string{"member", "reader"}, given, injected},
		"nobody":              {nil, given, injected},
		"nothing given":       {[]string{"member"}, nil, props{"a": "rule", "b": "rule"}},
		"admin":               {[]string{"member", "admin"}, given, given},
		"admin, capital":      {[]string{"ADMIN"}, given, given},
		"second ignored role": {[]string{"image-maker"}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := r.Apply(tt.roles, tt.in)
			if !maps.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if got != nil {
				got["mine"] = "x"
			}
			if !maps.Equal(given, props{"a": "given", "c": "given"}) {
				t.Errorf("what was given became %v", given)
			}
		})
	}
	if got := (*Rules)(nil).Apply(nil, given); !maps.Equal(got, given) {
		t.Errorf("no rules: %v", got)
	}
	if again := r.Apply(nil, nil); len(again) != 2 {
		t.Errorf("the rules changed: %v", again)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`a:1,b:"x,y",c:'z'`)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse([]string{s}, nil)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("error %v", err)
			}
			return
		}
		for k, v := range r.Apply(nil, nil) {
			if p := refuse(k, v); p != "" {
				t.Errorf("%q: %q was accepted and %s", k, v, p)
			}
		}
	})
}
