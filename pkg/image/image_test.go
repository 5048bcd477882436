package image

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestNewIDIsARandomUUID(t *testing.T) {
	version4 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[ID]bool{}
	for range 1000 {
		id := NewID()
		if !version4.MatchString(string(id)) {
			t.Fatalf("%q is not a version 4 UUID", id)
		}
		if parsed, err := ParseID("id", string(id)); err != nil || parsed != id {
			t.Fatalf("ParseID(%q) = %q, %v", id, parsed, err)
		}
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
}

func TestParseIDRefuses(t *testing.T) {
	const good = "2bd882e7-1da0-4078-97fe-f1bb81f61b00"
	tests := map[string]string{
		"empty":           "",
		"upper case":      strings.ToUpper(good),
		"no dashes":       strings.ReplaceAll(good, "-", ""),
		"short":           good[1:],
		"long":            good + "0",
		"not hex":         "g" + good[1:],
		"trailing line":   good + "\n",
		"leading space":   " " + good,
		"path":            "../../" + good,
		"braces":          "{" + good + "}",
		"non-ASCII digit": "٢" + good[1:],
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			id, err := ParseID("image.id", s)
			if id != "" {
				t.Errorf("got %q along with the error", id)
			}
			wantFieldError(t, err, "image.id")
		})
	}
}

func TestNames(t *testing.T) {
	tests := map[string]struct {
		name string
		ok   bool
	}{
		"simple":               {"central", true},
		"digit at the end":     {"dcn0", true},
		"one letter":           {"a", true},
		"dash and underscore":  {"edge-1_b", true},
		"63 characters":        {strings.Repeat("a", 63), true},
		"looks like reserved":  {"os_glance", true},
		"64 characters":        {strings.Repeat("a", 64), false},
		"empty":                {"", false},
		"digit first":          {"0dcn", false},
		"dash last":            {"dcn-", false},
		"underscore last":      {"dcn_", false},
		"upper case":           {"Dcn0", false},
		"space":                {"dcn 0", false},
		"slash":                {"dcn/0", false},
		"dots":                 {"..", false},
		"newline":              {"dcn0\n", false},
		"reserved":             {"os_glance_staging_store", false},
		"reserved, just so":    {"os_glance_x", false},
		"comma separated list": {"dcn0,dcn1", false},
		"non-ASCII":            {"dcnö", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			store, err := ParseStoreID("stores[0]", tt.name)
			site, siteErr := ParseSiteID("stores[0]", tt.name)
			if (err == nil) != (siteErr == nil) {
				t.Fatalf("store: %v, site: %v", err, siteErr)
			}
			if !tt.ok {
				wantFieldError(t, err, "stores[0]")
				if store != "" || site != "" {
					t.Errorf("got %q and %q along with the error", store, site)
				}
				return
			}
			if err != nil || string(store) != tt.name || string(site) != tt.name {
				t.Errorf("got %q, %q, %v", store, site, err)
			}
		})
	}
}

func TestErrorsRepeatLittleOfABadValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s") + strings.Repeat("A", rapid.IntRange(0, 5000).Draw(t, "n"))
		_, err := ParseID("id", s)
		if err == nil {
			return
		}
		if n := len(err.Error()); n > 1000 {
			t.Fatalf("the error has %d bytes", n)
		}
		if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
			t.Fatalf("the error holds control characters: %q", err.Error())
		}
	})
}

func wantFieldError(t *testing.T, err error, field string) {
	t.Helper()
	e, ok := fault.As(err)
	if !ok || e.Class != fault.Invalid {
		t.Fatalf("got %v, want an Invalid error", err)
	}
	if len(e.Fields) != 1 || e.Fields[0].Name != field || e.Fields[0].Problem == "" {
		t.Errorf("fields %+v, want one problem of %q", e.Fields, field)
	}
}
