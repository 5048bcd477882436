package app

import (
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"
)

// injecting parses flags about injected properties and opens what they configure.
func injecting(t *testing.T, args ...string) (*access, error) {
	t.Helper()
	var c Config
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.access(f)
	c.imports(f)
	c.signatures(f)
	c.inject(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return openAccess(c, hclog.NewNullLogger())
}

func TestInjectFlags(t *testing.T) {
	a, err := injecting(t, "--inject-properties", `a:1,b:"x,y"`, "--inject-properties", "c:2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.inject.Apply([]string{"member"}, nil), map[string]string{"a": "1", "b": "x,y", "c": "2"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := a.inject.Apply([]string{"admin"}, nil); len(got) != 0 {
		t.Errorf("administrators get %v", got)
	}
	if a, err = injecting(t, "--inject-properties", "a:1", "--inject-ignore-roles="); err != nil {
		t.Fatal(err)
	}
	if got := a.inject.Apply([]string{"admin"}, nil); len(got) != 1 {
		t.Errorf("with nobody ignored administrators get %v", got)
	}
	for _, bad := range []string{"os_glance_x:y", "owner:me", "a"} {
		if _, err := injecting(t, "--inject-properties", bad); err == nil || !strings.Contains(err.Error(), "inject-properties") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
