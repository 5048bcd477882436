package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Cloud is a lab whose hub asks a real Keystone who its callers are, with users who know its Image API from Keystone's
// catalog.
type Cloud struct {
	*Lab
	Admin  *Actor // administrator of the cloud
	Demo   *Actor // member of project demo
	Reader *Actor // reader of project demo
	Alt    *Actor // member of project alt
	Nova   *Actor // service user

	edge string // address of the Image API at dcn0
}

// NewCloud starts a cloud. Without ATOLL_TEST_KEYSTONE_DIR, which e2e/ci/test.sh sets, the test is skipped; with CI=true it
// fails.
func NewCloud(t *testing.T, hubFlags ...string) *Cloud {
	t.Helper()
	dir := os.Getenv("ATOLL_TEST_KEYSTONE_DIR")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("ATOLL_TEST_KEYSTONE_DIR is not set")
		}
		t.Skip("needs Keystone: run make e2e")
	}
	image := freeAddress(t)
	base, home := "http://"+image, t.TempDir()
	actor := func(name string) *Actor {
		env, err := readRC(filepath.Join(dir, name+".rc"))
		if err != nil {
			t.Fatal(err)
		}
		return &Actor{T: t, Name: name, Env: env, home: home, base: base, id: &identity{}}
	}
	c := &Cloud{Admin: actor("admin"), Demo: actor("demo"), Reader: actor("reader"), Alt: actor("alt"), Nova: actor("nova")}
	publish(t, dir, base)
	service, edge := actor("glance").Env, freeAddress(t)
	password := filepath.Join(home, "password")
	if err := os.WriteFile(password, []byte(service["OS_PASSWORD"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.edge = "http://" + edge
	c.Lab = newLab(t, setup{
		image: image, token: c.Admin.Token,
		flags: append([]string{
			"--auth", "keystone", "--keystone-url", service["OS_AUTH_URL"], "--keystone-user", service["OS_USERNAME"],
			"--keystone-password-file", password, "--keystone-project", service["OS_PROJECT_NAME"],
			"--keystone-user-domain", service["OS_USER_DOMAIN_NAME"], "--keystone-project-domain", service["OS_PROJECT_DOMAIN_NAME"],
			"--import-allow-networks", "127.0.0.0/8", "--import-allow-ports", "1-65535", // tests serve images from here
			"--format-match", "warn", // OpenStack's own suite uploads noise as every format
		}, hubFlags...),
		extra: map[string]string{"dcn0": fmt.Sprintf(`image_api:
  address: %q
  hub_image_url: %q
  auth: keystone
  keystone: {url: %q, user: %q, password_file: %q, project: %q}
`, edge, base, service["OS_AUTH_URL"], service["OS_USERNAME"], password, service["OS_PROJECT_NAME"])},
	})
	return c
}

// AtEdge returns a user whose requests go to the Image API that the agent of dcn0 serves.
func (c *Cloud) AtEdge(a *Actor) *Actor {
	b := *a
	b.base, b.Name = c.edge, a.Name+" at dcn0"
	return &b
}

// In returns the same cloud for a test within the test that owns it.
func (c *Cloud) In(t *testing.T) *Cloud {
	l := *c.Lab
	l.T = t
	return &Cloud{
		Lab: &l, Admin: c.Admin.In(t), Demo: c.Demo.In(t), Reader: c.Reader.In(t), Alt: c.Alt.In(t), Nova: c.Nova.In(t), edge: c.edge,
	}
}

// publish makes Keystone's catalog name the Image API: at base, and for each site at the address that puts the site's copies
// first, in a region of the site's name.
func publish(t *testing.T, dir, base string) {
	t.Helper()
	for region, url := range regions(base) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		out, err := exec.CommandContext(ctx, "../lab/keystone.sh", "endpoint", dir, url, region).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("keystone.sh: %v\n%s", err, out)
		}
	}
}

func regions(base string) map[string]string {
	all := map[string]string{"RegionOne": base}
	for _, site := range Sites {
		all[site] = base + "/site/" + site
	}
	return all
}

// Base returns the address of the hub's Image API, as "http://127.0.0.1:9292".
func (c *Cloud) Base() string { return strings.TrimSuffix(c.Admin.base, "/") }
