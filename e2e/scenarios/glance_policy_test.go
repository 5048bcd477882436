package scenarios

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

const (
	//nolint:misspell // names of rules
	policyText = `upload_image: "role:admin"
copy_image: "role:admin"
publicize_image: "role:member and project_id:%(project_id)s"
`
	protectionText = `[^x_secret$]
create = admin
read = admin
update = admin
delete = admin
[^x_fixed$]
create = @
read = @
update = !
delete = !
[.*]
create = @
read = @
update = @
delete = @
`
)

// TestImageAPIRules starts a hub with an operator's own policy, protected properties and limits.
func TestImageAPIRules(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"policy.yaml": policyText, "protections.conf": protectionText}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &cloud{Cloud: lab.NewCloud(t, "--policy-file", filepath.Join(dir, "policy.yaml"), "--property-protection-file",
		filepath.Join(dir, "protections.conf"), "--property-limit", "4", "--tag-limit", "2", "--member-limit", "1",
		"--project-image-limit", "5", "--image-size-limit", "20MiB", "--project-storage-limit", "60MiB", "--project-staging-limit", "10MiB")}
	c.data, c.sum = lab.Data(16<<20, 8)
	t.Run("policy", func(t *testing.T) { ownPolicy(c.in(t)) })
	t.Run("protections", func(t *testing.T) { protectedProperties(c.in(t)) })
	t.Run("limits", func(t *testing.T) { limits(c.in(t)) }) // the last one: it leaves projects that have all they may
	for _, flag := range []string{"--policy-file", "--property-protection-file", "--tokens-file"} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("ATOLL_TEST_BIN"), "atoll-hub"), "--data-dir", t.TempDir(),
			"--auth", "tokens", "--tokens-file", filepath.Join(dir, "policy.yaml"), flag, filepath.Join(dir, "missing")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), strings.TrimPrefix(flag, "--")) && !strings.Contains(string(out), "missing") {
			t.Errorf("%s names no file, and the hub says: %v %s", flag, err, out)
		}
	}
}

// ownPolicy replaces three rules.
func ownPolicy(c *cloud) {
	id := c.queue(c.Demo, lab.Object{"visibility": "public"})
	file := "/v2/images/" + id + "/file"
	c.Demo.Call(http.MethodPut, file, c.data, "Content-Type", "application/octet-stream").Is(http.StatusForbidden)
	c.Admin.Call(http.MethodPut, file, c.data, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
	copying := lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": []string{"dcn0"}}
	c.Demo.Call(http.MethodPost, "/v2/images/"+id+"/import", copying).Is(http.StatusForbidden)
	c.Alt.Call(http.MethodDelete, "/v2/images/"+id, nil).Is(http.StatusForbidden)
	c.drop(c.Demo, id)
}

// protectedProperties hides one property and fixes another.
func protectedProperties(c *cloud) {
	c.Demo.Call(http.MethodPost, "/v2/images", lab.Object{"name": "never", "x_secret": "1"}).Is(http.StatusForbidden)
	id := c.queue(c.Admin, lab.Object{"visibility": "public", "x_secret": "1", "x_fixed": "2", "x_free": "3"})
	if img := c.Admin.Image(id); img.Text("x_secret") != "1" {
		c.T.Errorf("the administrator sees %v", img)
	}
	img := c.Demo.Image(id)
	if _, shown := img["x_secret"]; shown || img.Text("x_free") != "3" {
		c.T.Errorf("a user sees %v", img)
	}
	if found := c.Demo.Call(http.MethodGet, "/v2/images?x_secret=1", nil).Is(http.StatusOK).JSON().Objects("images"); len(found) != 0 {
		c.T.Errorf("a filter tells the value of a hidden property: %v", found)
	}
	c.Admin.Patch(id, lab.Op("replace", "/x_fixed", "9")).Is(http.StatusForbidden)
	c.Admin.Patch(id, lab.Op("replace", "/x_free", "9")).Is(http.StatusOK)
	c.drop(c.Admin, id)
}

// limits answers 413 at every bound, and what was refused leaves nothing.
func limits(c *cloud) {
	c.Demo.Call(http.MethodPost, "/v2/images", lab.Object{"name": "n", "a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}).Is(http.StatusRequestEntityTooLarge)
	c.Demo.Call(http.MethodPost, "/v2/images", lab.Object{"name": "n", "tags": []string{"1", "2", "3"}}).Is(http.StatusRequestEntityTooLarge)
	first := c.queue(c.Alt, lab.Object{"tags": []string{"1", "2"}})
	c.Alt.Call(http.MethodPut, "/v2/images/"+first+"/tags/3", nil).Is(http.StatusRequestEntityTooLarge)
	c.Alt.Call(http.MethodPost, "/v2/images/"+first+"/members", lab.Object{"member": c.Demo.Project()}).Is(http.StatusOK)
	c.Alt.Call(http.MethodPost, "/v2/images/"+first+"/members", lab.Object{"member": c.Admin.Project()}).Is(http.StatusRequestEntityTooLarge)
	octets := []string{"Content-Type", "application/octet-stream"}
	big := append(append([]byte(nil), c.data...), c.data...)
	admins := c.queue(c.Admin, nil)
	c.Admin.Call(http.MethodPut, "/v2/images/"+admins+"/file", big, octets...).Is(http.StatusRequestEntityTooLarge)
	c.equal("status", c.Admin.Image(admins).Text("status"), "queued")
	c.Admin.Call(http.MethodPut, "/v2/images/"+admins+"/stage", c.data, octets...).Is(http.StatusRequestEntityTooLarge)
	c.gone(admins)
	for range 4 {
		c.queue(c.Alt, nil)
	}
	c.Alt.Call(http.MethodPost, "/v2/images", lab.Object{"name": "one too many"}).Is(http.StatusRequestEntityTooLarge)
	usage := c.Alt.Call(http.MethodGet, "/v2/info/usage", nil).Is(http.StatusOK).JSON()
	figures, _ := usage["usage"].(map[string]any)
	count, _ := figures["image_count_total"].(map[string]any)
	if count["usage"] != 5.0 || count["limit"] != 5.0 {
		c.T.Errorf("usage: %v", usage)
	}
	// 16 MiB in four stores' worth is more than the project may have.
	for n := range 4 {
		id := c.queue(c.Admin, nil)
		code := c.Admin.Call(http.MethodPut, "/v2/images/"+id+"/file", c.data, octets...).Code
		if want := map[bool]int{true: http.StatusNoContent, false: http.StatusRequestEntityTooLarge}[n < 3]; code != want {
			c.T.Errorf("upload %d: status %d, want %d", n+1, code, want)
		}
	}
}
