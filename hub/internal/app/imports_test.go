package app

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"
)

// Who the callers are decides which URLs the hub fetches without being told.
func TestImportsFollowWhoCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags      string
		good, bad  []string
		goodRegion bool // http://10.0.0.1:9292 as a region
	}{
		"none":      {"--auth=none", []string{"http://127.0.0.1:8080/", "http://10.0.0.1/", "https://example.org/"}, []string{"http://169.254.169.254/"}, true},
		"with auth": {"", []string{"https://example.org/"}, []string{"http://127.0.0.1/", "http://10.0.0.1/", "http://example.org:8080/"}, true},
		"listed": {
			"--import-allow-networks=127.0.0.0/8,10.0.0.0/8 --import-allow-ports=1-65535",
			[]string{"http://127.0.0.1:8080/", "http://10.0.0.1/"},
			[]string{"http://192.168.0.1/"},
			true,
		},
		"denied": {
			"--import-deny-networks=10.0.0.0/8 --import-deny-hosts=*.example.org --import-deny-ports=80", nil,
			[]string{"http://x.org/", "https://a.example.org/"},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var config Config
			f := pflag.NewFlagSet("", pflag.ContinueOnError)
			config.access(f)
			config.imports(f)
			if err := f.Parse(strings.Fields(c.flags)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(c.flags, "--auth") {
				config.Access.Auth = authTokens
			}
			a, err := outsideOf(config)
			if err != nil {
				t.Fatal(err)
			}
			for _, uri := range c.good {
				if err := a.users.Check(uri); err != nil {
					t.Errorf("%s: %v", uri, err)
				}
			}
			for _, uri := range c.bad {
				if a.users.Check(uri) == nil {
					t.Errorf("%s is allowed", uri)
				}
			}
			if (a.regions.Check("http://10.0.0.1:9292/") == nil) != c.goodRegion || a.regions.Check("http://169.254.169.254/") == nil {
				t.Error("wrong of regions")
			}
		})
	}
	config := Config{}
	config.Import.AllowNetworks = []string{"inside"}
	if _, err := openAccess(config, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "import-allow-networks") {
		t.Errorf("a mistake in a list: %v", err)
	}
}
