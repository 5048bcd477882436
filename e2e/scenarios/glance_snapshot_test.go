package scenarios

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

func jsonInto(text string, v any) error { return json.Unmarshal([]byte(text), v) }

// place makes an image of the cloud's data in a site's pool as Nova does with an instance's disk: a flat image under the
// image's id with a protected snapshot. It returns its location.
func (c *cloud) place(site, id string) string {
	c.T.Helper()
	c.MustRBD(site, "import", "--no-progress", "--image-format", "2", c.file, "images/"+id)
	c.MustRBD(site, "snap", "create", "--no-progress", "images/"+id+"@snap")
	c.MustRBD(site, "snap", "protect", "images/"+id+"@snap")
	return "rbd://" + c.Ceph(site, "fsid") + "/images/" + id + "/snap"
}

// novaSnapshots adopts a disk that Nova has put into the pool of a site: it is an image at once, its hashes follow, and
// from there it gets to the central store and to the other site.
func novaSnapshots(c *cloud) {
	id := c.queue(c.Demo, lab.Object{"visibility": "private", "image_type": "snapshot", "instance_uuid": "6b3b9a3f-9f26-4ff2-8cd4-7f4d0a0b0c0d"})
	url := c.place("dcn0", id)
	path := "/v2/images/" + id + "/locations"
	body := lab.Object{"url": url, "validation_data": lab.Object{}}
	c.Alt.Call(http.MethodPost, path, body).Is(http.StatusNotFound)
	c.Demo.Call(http.MethodPost, path, body).Is(http.StatusForbidden)
	c.Nova.Call(http.MethodPost, path, body).Is(http.StatusAccepted)
	img := c.active(c.Demo, id)
	c.equal("stores", img.Text("stores"), "dcn0")
	img = c.awaits(c.Demo, id, "the hashes appear", func(img lab.Object) bool {
		return img.Text("os_hash_value") != "" && img.Text("checksum") != ""
	})
	c.same(img.Text("checksum"), img.Text("os_hash_value"))
	c.holds(c.Demo, id, "dcn0")
	c.Nova.Call(http.MethodPost, path, body).Is(http.StatusConflict)
	n := compute{c, "dcn0", c.Demo}
	parts, err := n.locate(n.get(id))
	if err != nil {
		c.T.Fatal(err)
	}
	n.clone(parts, "again_"+id)
	c.saved(c.Demo, id)
	c.Demo.Glance("image-import", id, "--stores", "central", "--import-method", "copy-image")
	c.active(c.Demo, id)
	c.holds(c.Demo, id, "central", "dcn0")
	c.Demo.Glance("image-import", id, "--stores", "dcn1", "--import-method", "copy-image")
	c.active(c.Demo, id)
	c.holds(c.Demo, id, "central", "dcn0", "dcn1")
	c.Demo.Glance("image-delete", id)
	c.gone(id)
}

// validatedLocation compares what the service says of the data with the data.
func validatedLocation(c *cloud) {
	sums := c.Demo.Image(c.create(c.Demo, nil))
	good := lab.Object{"os_hash_algo": "sha512", "os_hash_value": sums.Text("os_hash_value")}
	id := c.queue(c.Demo, nil)
	url := c.place("dcn1", id)
	c.Nova.Call(http.MethodPost, "/v2/images/"+id+"/locations", lab.Object{"url": url, "validation_data": good}).Is(http.StatusAccepted)
	img := c.active(c.Demo, id)
	c.same(img.Text("checksum"), img.Text("os_hash_value"))
	c.holds(c.Demo, id, "dcn1")

	bad := lab.Object{"os_hash_algo": "sha512", "os_hash_value": strings.Repeat("ab", 64)}
	id = c.queue(c.Demo, nil)
	url = c.place("dcn1", id)
	c.Nova.Call(http.MethodPost, "/v2/images/"+id+"/locations", lab.Object{"url": url, "validation_data": bad}).Is(http.StatusAccepted)
	img = c.awaits(c.Demo, id, "the location is dropped", func(img lab.Object) bool { return img.Text("status") == "queued" })
	if img.Text("os_hash_value") != "" || img.Text("stores") != "" {
		c.T.Errorf("left over: %v", img)
	}
	fsid := c.Ceph("dcn1", "fsid")
	for _, refused := range []lab.Object{
		{"url": "file:///etc/passwd"},
		{"url": "filesystem:///etc/passwd"},
		{"url": "rbd://" + fsid + "/images/" + id},
		{"url": "rbd://" + fsid + "/images/" + missing + "/snap"},
		{"url": "rbd://" + missing + "/images/" + id + "/snap"},
		{"url": url, "validation_data": lab.Object{"os_hash_algo": "sha512"}},
		{"url": url, "validation_data": lab.Object{"os_hash_algo": "crc32", "os_hash_value": "00"}},
		{"url": url, "validation_data": lab.Object{"os_hash_algo": "sha512", "os_hash_value": "zz"}},
		{},
	} {
		answer := c.Nova.Call(http.MethodPost, "/v2/images/"+id+"/locations", refused).Is(http.StatusBadRequest, http.StatusForbidden)
		if strings.Contains(string(answer.Body), "passwd") || strings.Contains(string(answer.Body), fsid) {
			c.T.Errorf("the answer repeats the location: %s", answer.Body)
		}
	}
}
