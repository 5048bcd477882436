package scenarios

import (
	"slices"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// onePage is a size of pages that holds all images: the last one of a page may be deleted by a test beside this one before the next
// page is asked for by it.
const onePage = "1000"

// shareImage gives another project an image, which it has to accept.
func shareImage(c *cloud) {
	id := c.create(c.Demo, nil)
	alt := c.Alt.Project()
	listed := func(args ...string) bool {
		c.T.Helper()
		return slices.Contains(c.Alt.Glance(append([]string{"image-list", "--page-size", onePage}, args...)...).Column("ID"), id)
	}
	c.Alt.GlanceFails("HTTP 404", "image-show", id)
	made := c.Demo.Glance("member-create", id, alt)
	if !slices.Equal(made.Column("Status"), []string{"pending"}) || !slices.Equal(made.Column("Member ID"), []string{alt}) {
		c.T.Errorf("member-create: %v", made)
	}
	c.Demo.GlanceFails("HTTP 409", "member-create", id, alt)
	// By its id a member sees the image at once, in its list only when it wants to.
	c.equal("name", c.Alt.Glance("image-show", id).Get("name"), c.T.Name())
	if listed() || !listed("--visibility", "shared", "--member-status", "pending") {
		c.T.Error("an image that nobody has accepted is in the wrong list")
	}
	c.Demo.GlanceFails("HTTP 403", "member-update", id, alt, "accepted")
	c.Alt.GlanceFails("HTTP 403", "member-create", id, c.Admin.Project())
	c.Alt.Glance("member-update", id, alt, "accepted")
	if !listed() {
		c.T.Error("an accepted image is not in the list")
	}
	c.saved(c.Alt, id)
	c.Alt.GlanceFails("HTTP 403", "image-update", id, "--name", "stolen")
	if got := c.Demo.Glance("member-list", "--image-id", id).Column("Status"); !slices.Equal(got, []string{"accepted"}) {
		c.T.Errorf("member-list: %v", got)
	}
	c.equal("status in member-get", c.Alt.Glance("member-get", id, alt).Get("status"), "accepted")
	c.Alt.Glance("member-update", id, alt, "rejected")
	if listed() {
		c.T.Error("a rejected image is in the list")
	}
	c.Demo.Glance("member-delete", id, alt)
	c.Alt.GlanceFails("HTTP 404", "image-show", id)
	c.Demo.GlanceFails("HTTP 404", "member-delete", id, alt)
	private := c.queue(c.Demo, lab.Object{"visibility": "private"})
	c.Demo.GlanceFails("HTTP 403", "member-create", private, alt)
}

// communityImage is for those who know of it.
func communityImage(c *cloud) {
	id := c.create(c.Demo, nil)
	c.Demo.Glance("image-update", id, "--visibility", "community")
	c.equal("name", c.Alt.Glance("image-show", id).Get("name"), c.T.Name())
	if slices.Contains(c.Alt.Glance("image-list", "--page-size", onePage).Column("ID"), id) {
		c.T.Error("a community image is in another project's list")
	}
	if !slices.Contains(c.Alt.Glance("image-list", "--page-size", onePage, "--visibility", "community").Column("ID"), id) {
		c.T.Error("a community image is not in the list of them")
	}
	c.saved(c.Alt, id)
}

// listImages filters, sorts and pages.
func listImages(c *cloud) {
	tag := "listed"
	ids := map[string]string{}
	for name, a := range map[string]lab.Object{
		"b": {"disk_format": "raw", "os_distro": "debian", "min_ram": 1},
		"a": {"disk_format": "iso", "os_distro": "debian"},
		"d": {"disk_format": "raw", "os_distro": "fedora", "visibility": "private"},
		"c": {"disk_format": "qcow2", "os_distro": "fedora", "protected": true},
	} {
		a["name"], a["tags"] = name, []string{tag}
		ids[name] = c.queue(c.Demo, a)
	}
	names := func(args ...string) string {
		c.T.Helper()
		all := ""
		for _, n := range c.Demo.Glance(append([]string{"image-list", "--tag", tag}, args...)...).Column("Name") {
			all += n
		}
		return all
	}
	c.equal("all", names(), "abcd")
	c.equal("pages of one", names("--page-size", "1"), "abcd")
	c.equal("the first two", names("--limit", "2"), "ab")
	c.equal("backwards", names("--sort", "name:desc"), "dcba")
	c.equal("by two keys", names("--sort", "disk_format:asc,name:desc"), "acdb")
	c.equal("by key and direction", names("--sort-key", "name", "--sort-dir", "desc"), "dcba")
	c.equal("by a property", names("--property-filter", "os_distro=debian"), "ab")
	c.equal("by a base attribute", names("--property-filter", "disk_format=raw"), "bd")
	c.equal("by visibility", names("--visibility", "private"), "d")
	c.equal("by owner", names("--owner", c.Demo.Project()), "abcd")
	c.equal("by another owner", names("--owner", c.Alt.Project()), "")
	c.equal("by several values", names("--property-filter", "name=in:a,d"), "ad")
	verbose := c.Demo.Glance("-v", "image-list", "--tag", tag)
	c.equal("format in the long list", verbose.Of(ids["c"], "Disk_format"), "qcow2")
	c.equal("status in the long list", verbose.Of(ids["c"], "Status"), "queued")
	data := c.create(c.Demo, lab.Object{"tags": []string{tag}, "name": "e"})
	img := c.Demo.Image(data)
	c.equal("by checksum", names("--checksum", img.Text("checksum")), "e")
	c.equal("by hash", names("--hash", img.Text("os_hash_value")), "e")
	c.Demo.GlanceFails("HTTP 400", "image-list", "--visibility", "secret")
	for _, query := range []string{
		"limit=-1", "limit=x", "marker=" + missing, "sort_key=owner", "sort=name:up", "created_at=yesterday", "size_min=big", "member_status=maybe",
		"protected=perhaps", "name=in:a,%22b", "changes-since=2020-01-01T00:00:00Z", "sort_key=name&sort=name",
	} {
		c.Demo.Call("GET", "/v2/images?"+query, nil).Is(400)
	}
	if all := c.Demo.Call("GET", "/v2/images?limit=0&tag="+tag, nil).Is(200).JSON().Objects("images"); len(all) != 0 {
		c.T.Errorf("limit=0: %v", all)
	}
}

// missing is the id of no image.
const missing = "6f1d3a52-7d3d-4c0c-9d52-0a3f4be7ffff"
