package scenarios

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// openstackCreate is openstack image create, show, save and delete.
func openstackCreate(c *cloud) {
	var made, shown lab.Object
	c.Demo.OpenStackJSON(&made, "image", "create", "osc-image", "--disk-format", "raw", "--container-format", "bare", "--file", c.file,
		"--property", "os_distro=debian", "--tag", "blue", "--min-disk", "1", "--min-ram", "32", "--private")
	c.equal("name", made.Text("name"), "osc-image")
	c.Demo.OpenStackJSON(&shown, "image", "show", "osc-image")
	id := shown.Text("id")
	c.equal("status", shown.Text("status"), "active")
	c.equal("visibility", shown.Text("visibility"), "private")
	c.equal("owner", shown.Text("owner"), c.Demo.Project())
	properties, _ := shown["properties"].(map[string]any)
	o := lab.Object(properties)
	c.same(shown.Text("checksum"), o.Text("os_hash_value"))
	c.equal("os_distro", o.Text("os_distro"), "debian")
	c.equal("stores", o.Text("stores"), "central")
	c.equal("owner_specified.openstack.object", o.Text("owner_specified.openstack.object"), "images/osc-image")
	c.holds(c.Demo, id, "central")
	path := filepath.Join(c.Dir, "osc.raw")
	c.Demo.OpenStack("image", "save", "--file", path, "osc-image")
	if !bytes.Equal(c.Demo.Read(path), c.data) {
		c.T.Error("the saved image differs")
	}
	c.Demo.OpenStackFails("403", "image", "create", "never", "--public", "--file", c.file)
	c.Demo.OpenStack("image", "create", "kept", "--protected", "--community", "--file", c.file)
	c.Demo.OpenStackFails("403", "image", "delete", "kept")
	c.Demo.OpenStack("image", "set", "--unprotected", "kept")
	c.Demo.OpenStack("image", "delete", "osc-image", "kept")
	c.gone(id)
	c.Demo.OpenStackFails("No Image found", "image", "show", "osc-image")
	var imported lab.Object
	c.Demo.OpenStackJSON(&imported, "image", "create", "osc-import", "--file", c.file, "--import")
	c.active(c.Demo, imported.Text("id"))
	c.holds(c.Demo, imported.Text("id"), "central")
}

// openstackSet is openstack image set and unset with what the guide names.
func openstackSet(c *cloud) {
	id := c.create(c.Demo, lab.Object{"name": "osc-set"})
	args := []string{"image", "set", id, "--name", "osc-renamed", "--min-ram", "77", "--tag", "red", "--tag", "green"}
	for name, value := range guideProperties {
		args = append(args, "--property", name+"="+value)
	}
	c.Demo.OpenStack(args...)
	img := c.Demo.Image(id)
	for name, want := range guideProperties {
		c.equal(name, img.Text(name), want)
	}
	c.equal("name", img.Text("name"), "osc-renamed")
	c.equal("tags", strings.Join(texts(img["tags"]), ","), "green,red")
	c.Demo.OpenStack("image", "unset", "--tag", "red", "--property", "os_type", "--property", "vm_mode", id)
	img = c.Demo.Image(id)
	if _, there := img["os_type"]; there || img.Text("hw_disk_bus") != "virtio" {
		c.T.Errorf("after unset: %v", img)
	}
	c.equal("tags", strings.Join(texts(img["tags"]), ","), "green")
	c.Demo.OpenStack("image", "set", "--deactivate", id)
	c.equal("status", c.Demo.Image(id).Text("status"), "deactivated")
	c.Demo.OpenStack("image", "set", "--activate", id)
	c.equal("status", c.Demo.Image(id).Text("status"), "active")
	c.Demo.OpenStack("image", "set", "--hidden", id)
	if listed := c.openstackIDs(c.Demo, "--hidden"); !slices.Contains(listed, id) {
		c.T.Errorf("not among the hidden images: %v", listed)
	}
	c.Demo.OpenStack("image", "set", "--unhidden", "--community", id)
	if listed := c.openstackIDs(c.Alt, "--community", "--tag", "green"); !slices.Contains(listed, id) {
		c.T.Errorf("not among the community images: %v", listed)
	}
	c.Demo.OpenStackFails("403", "image", "set", "--public", id)
}

// openstackIDs returns the ids that openstack image list prints.
func (c *cloud) openstackIDs(a *lab.Actor, args ...string) []string {
	c.T.Helper()
	var rows []lab.Object
	a.OpenStackJSON(&rows, append([]string{"image", "list", "--long"}, args...)...)
	ids := []string{}
	for _, row := range rows {
		ids = append(ids, row.Text("ID"))
	}
	return ids
}

// openstackShare is openstack image add project, with the answer of the other project, and the lists.
func openstackShare(c *cloud) {
	id := c.create(c.Demo, lab.Object{"name": "osc-shared", "os_distro": "osc", "tags": []string{"osc"}})
	c.Demo.OpenStack("image", "add", "project", id, c.Alt.Project())
	var members []lab.Object
	c.Demo.OpenStackJSON(&members, "image", "member", "list", id)
	if len(members) != 1 || members[0].Text("Member ID") != c.Alt.Project() || members[0].Text("Status") != "pending" {
		c.T.Errorf("members: %v", members)
	}
	if listed := c.openstackIDs(c.Alt); slices.Contains(listed, id) {
		c.T.Error("an image is listed before it is accepted")
	}
	if listed := c.openstackIDs(c.Alt, "--shared", "--member-status", "pending"); !slices.Contains(listed, id) {
		c.T.Errorf("not among the pending images: %v", listed)
	}
	c.Alt.OpenStack("image", "set", "--accept", id)
	if listed := c.openstackIDs(c.Alt, "--property", "os_distro=osc"); !slices.Equal(listed, []string{id}) {
		c.T.Errorf("images of the distribution: %v", listed)
	}
	c.Alt.OpenStack("image", "set", "--reject", id)
	c.Demo.OpenStack("image", "remove", "project", id, c.Alt.Project())
	c.Alt.OpenStackFails("No Image found", "image", "show", id)
	for _, args := range [][]string{
		{"--name", "osc-shared"}, {"--tag", "osc", "--status", "active"}, {"--sort", "name:asc", "--tag", "osc", "--limit", "1"},
	} {
		if listed := c.openstackIDs(c.Demo, args...); !slices.Equal(listed, []string{id}) {
			c.T.Errorf("%v: %v", args, listed)
		}
	}
	c.Demo.OpenStack("image", "delete", id)
}

// openstackLocations shows where the copies are, as the guide's section 2.5 does, to those who may know.
func openstackLocations(c *cloud) {
	id := c.create(c.Admin, lab.Object{"visibility": "public"}, "dcn0", "dcn1")
	var shown struct {
		Properties struct {
			Stores    string `json:"stores"`
			Locations json.RawMessage
		} `json:"properties"`
	}
	c.Admin.OpenStackJSON(&shown, "image", "show", id, "-c", "properties")
	c.equal("stores", shown.Properties.Stores, "central,dcn0,dcn1")
	for _, s := range lab.Sites {
		if want := "rbd://" + c.Ceph(s, "fsid") + "/images/" + id + "/snap"; !strings.Contains(string(shown.Properties.Locations), want) {
			c.T.Errorf("no location %s: %s", want, shown.Properties.Locations)
		}
	}
	out := c.Demo.OpenStack("image", "show", id)
	if strings.Contains(out, "rbd://") || !strings.Contains(out, "central,dcn0,dcn1") {
		c.T.Errorf("an ordinary user sees: %s", out)
	}
}

// siteEndpoints uses the endpoints that sites have in Keystone's catalog.
func siteEndpoints(c *cloud) {
	id := c.create(c.Demo, nil, "dcn1")
	c.equal("name", c.Demo.Glance("--os-region-name", "dcn1", "image-show", id).Get("name"), c.T.Name())
	var shown lab.Object
	c.Demo.OpenStackJSON(&shown, "--os-region-name", "dcn1", "image", "show", id)
	c.equal("id", shown.Text("id"), id)
	answer := c.Demo.Call("GET", "/site/dcn1/", nil).Is(300)
	if !strings.Contains(string(answer.Body), "/site/dcn1/v2/") {
		c.T.Errorf("the versions of a site lead elsewhere: %s", answer.Body)
	}
}
