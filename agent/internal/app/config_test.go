package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/agent/internal/replica"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

const good = `
site: dcn0
hub: {link: "127.0.0.1:9394", frames: "https://127.0.0.1:9395"}
state_dir: /var/lib/atoll-agent
stores:
- {id: dcn0, driver: file, path: /srv/images}
`

func TestParse(t *testing.T) {
	c, err := parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if c.Site != "dcn0" || c.LogLevel != "info" || len(c.Stores) != 1 || c.Stores[0].Path != "/srv/images" {
		t.Errorf("got %+v", c)
	}
}

func TestParseVerify(t *testing.T) {
	for text, want := range map[string]string{"": replica.VerifyChecksums, ", verify: checksums": replica.VerifyChecksums, ", verify: read": replica.VerifyRead} {
		c, err := parse([]byte(strings.Replace(good, "/srv/images", "/srv/images"+text, 1)))
		if err != nil || c.Stores[0].Verify != want {
			t.Errorf("%q: got %v, %v", text, c, err)
		}
	}
}

func TestParseWriteDepth(t *testing.T) {
	for text, want := range map[string]int{
		"": replica.WriteAuto, ", write_depth: auto": replica.WriteAuto, ", write_depth: null": replica.WriteAuto,
		", write_depth: gentle": replica.WriteGentle, ", write_depth: 1": 1, ", write_depth: 256": 256,
	} {
		c, err := parse([]byte(strings.Replace(good, "/srv/images", "/srv/images"+text, 1)))
		if err != nil || c.Stores[0].depth != want {
			t.Errorf("%q: got %v, %v", text, c, err)
		}
	}
}

func TestParseSeveralHubs(t *testing.T) {
	want := Addresses{"a:1", "b:2"}
	for _, list := range []string{`"a:1,b:2"`, `"a:1, b:2"`, `["a:1", "b:2"]`} {
		c, err := parse([]byte(strings.Replace(good, `"127.0.0.1:9394"`, list, 1)))
		if err != nil || !slices.Equal(c.Hub.Link, want) {
			t.Errorf("%s: got %v, %v", list, c, err)
		}
	}
	c, err := parse([]byte(strings.Replace(good, `"https://127.0.0.1:9395"`, `[https://a:1, https://b:2]`, 1)))
	if err != nil || len(c.Hub.Frames) != 2 {
		t.Errorf("got %v, %v", c, err)
	}
}

// TestParseBad checks that every mistake is an Invalid error that names the field.
func TestParseBad(t *testing.T) {
	more := func(s string) string { return good + s }
	change := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%q is not in the good configuration", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	store := "{id: dcn0, driver: file, path: /srv/images}"
	for _, c := range []struct{ field, text string }{
		{"site", change("site: dcn0", "site: Bad Site")},
		{"stores[0].verify", change("path: /srv/images", "path: /srv/images, verify: never")},
		{"stores[0].write_depth", change("path: /srv/images", "path: /srv/images, write_depth: 0")},
		{"stores[0].write_depth", change("path: /srv/images", "path: /srv/images, write_depth: 257")},
		{"stores[0].write_depth", change("path: /srv/images", "path: /srv/images, write_depth: 1.5")},
		{"stores[0].write_depth", change("path: /srv/images", "path: /srv/images, write_depth: deep")},
		{"site", change("site: dcn0", "")},
		{"site", change("site: dcn0", "site: [a]")},
		{"hub.link", change("127.0.0.1:9394", "127.0.0.1")},
		{"hub.link", change(`link: "127.0.0.1:9394", `, "")},
		{"hub.frames", change("https://127.0.0.1:9395", "http://127.0.0.1:9395")},
		{"hub.frames", change("https://127.0.0.1:9395", "unix:relative")},
		{"hub.link", change(`"127.0.0.1:9394"`, `["127.0.0.1:9394", nowhere]`)},
		{"hub.link", change(`"127.0.0.1:9394"`, `"127.0.0.1:9394,"`)},
		{"hub.link", change(`"127.0.0.1:9394"`, `[]`)},
		{"hub.frames", change(`"https://127.0.0.1:9395"`, `["https://127.0.0.1:9395", "unix:/run/frames.sock"]`)},
		{"hub.frames", change(`, frames: "https://127.0.0.1:9395"`, "")},
		{"lnik", change("link:", "lnik:")},
		{"state_dir", change("state_dir: /var/lib/atoll-agent", "")},
		{"nonsense", more("nonsense: 1\n")},
		{"parallel", more("parallel: many\n")},
		{"parallel", more("parallel: -1\n")},
		{"workers", more("workers: 1000\n")},
		{"metrics_addr", more("metrics_addr: nowhere\n")},
		{"stores", change("stores:\n- "+store, "stores: []")},
		{"stores", change("stores:\n- "+store, "")},
		{"stores[0].id", change("id: dcn0", "id: UPPER")},
		{"stores[0].id", change("id: dcn0, ", "")},
		{"stores[0].driver", change("driver: file", "driver: nfs")},
		{"stores[0].path", change(", path: /srv/images", "")},
		{"stores[0]", change("path:", "pool: images, path:")},
		{"stores[1].id", more("- " + store)},
		{"config", "- 1"},
		{"config", "site: [\n"},
		{"config", more("site: dcn0\n")}, // twice
	} {
		_, err := parse([]byte(c.text))
		e, ok := fault.As(err)
		if !ok || e.Class != fault.Invalid || !strings.HasPrefix(e.Message, c.field+": ") {
			t.Errorf("%s: got %v for\n%s", c.field, err, c.text)
		}
	}
}

func TestParseCeph(t *testing.T) {
	text := strings.Replace(good, "driver: file, path: /srv/images", "ceph_conf: /etc/ceph/ceph.conf", 1)
	c, err := parse([]byte(text))
	if !cephrbd.Available {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "stores[0].driver") {
			t.Errorf("a build without Ceph: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Stores[0]; s.Driver != driverCeph || s.User != "atoll" || s.Pool != "images" {
		t.Errorf("defaults: %+v", s)
	}
}

// TestExample checks that the documented configuration is understood, and that nothing is left undocumented.
func TestExample(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operations", "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(b); err != nil && (cephrbd.Available || !strings.Contains(err.Error(), "stores[0].driver")) {
		t.Error(err)
	}
	for _, field := range []string{
		"site:", "link:", "frames:", "state_dir:", "stores:", "id:", "driver:", "ceph_conf:", "user:", "pool:", "features:", "path:",
		"parallel:", "workers:", "log_level:", "log_json:", "metrics_addr:", "image_api:", "address:", "hub_image_url:", "hub_ca_file:",
		"public_endpoint:", "auth:", "keystone:", "url:", "user_domain:", "project:", "project_domain:", "password_file:", "region:",
		"ca_file:", "tokens_file:", "policy_file:", "policy_dir:", "property_protection_file:", "property_protection_format:",
		"tls_cert:", "tls_key:",
	} {
		if !strings.Contains(string(b), field) {
			t.Errorf("%s is not described", field)
		}
	}
}

func TestParseImageAPI(t *testing.T) {
	c, err := parse([]byte(good + `
image_api:
  address: ":9292"
  hub_image_url: https://hub.example.net:9292
  auth: keystone
  keystone: {url: "https://keystone.example.net:5000/v3", password_file: /etc/atoll/password}
`))
	if err != nil {
		t.Fatal(err)
	}
	if k := c.ImageAPI.Keystone; k.User != "atoll" || k.UserDomain != "Default" || k.Project != "service" || k.ProjectDomain != "Default" {
		t.Errorf("got %+v", k)
	}
	if c, err := parse([]byte(good)); err != nil || c.ImageAPI != (ImageAPIConfig{}) {
		t.Errorf("without image_api: %+v, %v", c.ImageAPI, err)
	}
}

// TestParseBadImageAPI is TestParseBad for image_api.
func TestParseBadImageAPI(t *testing.T) {
	const local, far, hub = "address: 127.0.0.1:9292", `address: ":9292"`, "hub_image_url: http://hub:9292"
	for _, c := range []struct{ field, text string }{
		{"image_api.address", hub},
		{"image_api.address", "address: nowhere\n  auth: none\n  " + hub},
		{"image_api.address", far + "\n  auth: none\n  " + hub},
		{"image_api.hub_image_url", local + "\n  auth: none"},
		{"image_api.hub_image_url", local + "\n  auth: none\n  hub_image_url: hub:9292"},
		{"image_api.hub_image_url", local + "\n  auth: none\n  hub_image_url: http://me:secret@hub:9292"},
		{"image_api.public_endpoint", local + "\n  auth: none\n  public_endpoint: x\n  " + hub},
		{"image_api.auth", local + "\n  " + hub},
		{"image_api.auth", local + "\n  auth: open\n  " + hub},
		{"image_api.tokens_file", far + "\n  auth: tokens\n  " + hub},
		{"image_api.tls_cert", local + "\n  auth: none\n  tls_key: k\n  " + hub},
		{"image_api.keystone.url", far + "\n  auth: keystone\n  " + hub},
		{"image_api.keystone.password_file", far + "\n  auth: keystone\n  keystone: {url: 'http://k'}\n  " + hub},
		{"image_api.nonsense", local + "\n  nonsense: 1"},
	} {
		_, err := parse([]byte(good + "image_api:\n  " + c.text + "\n"))
		field := c.field
		if strings.HasSuffix(field, ".nonsense") {
			field = "nonsense" // the decoder names the field alone
		}
		if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(fault.Public(err), field+":") || strings.Contains(fault.Public(err), "secret") {
			t.Errorf("%s: %q: %v", c.field, c.text, err)
		}
	}
}
