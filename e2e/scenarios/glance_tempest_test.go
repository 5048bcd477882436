package scenarios

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The suite's tests of the Image API, and those of a plugin of who may do what with images.
const tempestTests = `^tempest\.api\.image|glance_tempest_plugin.*Images?Project`

// What of them is about things Atoll leaves out on purpose, see docs/api/image-api.md: version 1 of the
// API, metadata definitions and the cache.
const tempestWithout = `image\.v1|metadefs_(namespace|resource|object|propert|tag)|test_image_caching`

var tempestFigure = regexp.MustCompile(`(?m)^ - (Passed|Failed): (\d+)$`)

// tempestSuite runs OpenStack's own compatibility tests of the Image API.
func tempestSuite(c *cloud) {
	t := c.T
	home := t.TempDir()
	space := filepath.Join(home, "space")
	run := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "tempest", args...)
		cmd.Env, cmd.Dir = append(os.Environ(), "HOME="+home), home
		cmd.WaitDelay = 10 * time.Second // for what it has started
		if args[0] == "run" {
			cmd.Dir = space
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("init", space); err != nil {
		t.Fatalf("tempest init: %v\n%s", err, out)
	}
	admin := c.Admin.Env
	conf := fmt.Sprintf(`[DEFAULT]
log_file = tempest.log
[oslo_concurrency]
lock_path = %s/lock
[auth]
use_dynamic_credentials = true
admin_username = %s
admin_password = %s
admin_project_name = %s
admin_domain_name = Default
create_isolated_networks = false
[identity]
auth_version = v3
uri_v3 = %s
region = %s
[service_available]
nova = false
cinder = false
neutron = false
swift = false
[image]
http_image = %[7]s/disk.raw
build_timeout = 120
[image-feature-enabled]
import_image = true
os_glance_reserved = true
[enforce_scope]
glance = true
`, space, admin["OS_USERNAME"], admin["OS_PASSWORD"], admin["OS_PROJECT_NAME"], admin["OS_AUTH_URL"], admin["OS_REGION_NAME"], c.web.URL)
	if err := os.WriteFile(filepath.Join(space, "etc", "tempest.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run("run", "--serial", "--regex", tempestTests, "--exclude-regex", tempestWithout)
	figures := map[string]int{}
	for _, m := range tempestFigure.FindAllStringSubmatch(out, -1) {
		figures[m[1]], _ = strconv.Atoi(m[2])
	}
	const enough = 90 // of those that need no other service; fewer mean that the suite did not run as it should
	if err != nil || figures["Failed"] > 0 || figures["Passed"] < enough {
		t.Fatalf("%v: %v\n%s", err, figures, failures(out))
	}
	t.Logf("tempest: %v", figures)
}

// failures returns what a run says about failed tests, bounded.
func failures(out string) string {
	if i := strings.Index(out, "Failed 1 tests"); i >= 0 {
		out = out[i:]
	}
	const most = 20_000
	if len(out) > most {
		out = "..." + out[len(out)-most:]
	}
	return out
}
