package scenarios

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// stageImage is the three steps of glance-direct, one by one.
func stageImage(c *cloud) {
	id := c.Demo.Glance("image-create", "--name", "staged", "--disk-format", "raw", "--container-format", "bare").Get("id")
	direct := lab.Object{"method": lab.Object{"name": "glance-direct"}}
	c.Demo.GlanceFails("in status 'uploading'", "image-import", id, "--import-method", "glance-direct") // nothing is staged
	c.Demo.Call(http.MethodPost, "/v2/images/"+id+"/import", direct).Is(http.StatusConflict)
	c.Demo.Glance("image-stage", "--file", c.file, "--progress", id)
	got := c.Demo.Glance("image-show", id)
	c.equal("status", got.Get("status"), "uploading")
	c.equal("stores", got.Get("stores"), "")
	for _, s := range lab.Sites {
		if c.Holds(s, id) {
			c.T.Errorf("%s has something of an image that is only staged", s)
		}
	}
	c.Demo.GlanceFails("HTTP 409", "image-stage", "--file", c.file, id)
	c.Alt.GlanceFails("HTTP 404", "image-import", id, "--import-method", "glance-direct")
	c.Demo.Glance("image-import", id, "--import-method", "glance-direct")
	c.active(c.Demo, id)
	got = c.Demo.Glance("image-show", id)
	c.same(got.Get("checksum"), got.Get("os_hash_value"))
	c.holds(c.Demo, id, "central")
	c.saved(c.Demo, id)
	tasks := c.Demo.Glance("-v", "image-tasks", id)
	if states := tasks.Column("Status"); !slices.Equal(states, []string{"success"}) {
		c.T.Errorf("tasks: %v", tasks)
	}
	c.Demo.Call(http.MethodPost, "/v2/images/"+id+"/import", direct).Is(http.StatusConflict)
}

// createViaImport is glance-direct in one command, from a file and from standard input.
func createViaImport(c *cloud) {
	id := c.Demo.Glance("image-create-via-import", "--container-format", "bare", "--disk-format", "raw", "--name", "one command",
		"--file", c.file).Get("id")
	c.active(c.Demo, id)
	c.holds(c.Demo, id, "central")
	id = c.Demo.GlanceFrom(bytes.NewReader(c.data), "image-create-via-import", "--container-format", "bare", "--disk-format", "raw",
		"--name", "one pipe", "--stores", "central,dcn1").Get("id")
	c.active(c.Demo, id)
	c.holds(c.Demo, id, "central", "dcn1")
	queued := c.Demo.Glance("image-create-via-import", "--container-format", "bare", "--disk-format", "raw", "--name", "record")
	c.equal("status without data", queued.Get("status"), "queued")
	c.Demo.GlanceFails("is not valid for this cloud", "image-create-via-import", "--name", "x", "--import-method", "wormhole")
}

// webDownload fetches into the stores that the request names.
func webDownload(c *cloud) {
	fetch := func(args ...string) string {
		c.T.Helper()
		id := c.Demo.Glance(append([]string{
			"image-create-via-import", "--container-format", "bare", "--disk-format", "raw",
			"--name", "web", "--import-method", "web-download", "--uri", c.web.URL + "/disk.raw",
		}, args...)...).Get("id")
		img := c.active(c.Demo, id)
		c.equal("failed stores", img.Text("os_glance_failed_import"), "")
		return id
	}
	c.holds(c.Demo, fetch(), "central")
	c.holds(c.Demo, fetch("--store", "dcn0"), "central", "dcn0")
	c.holds(c.Demo, fetch("--stores", "central,dcn0,dcn1", "--property", "os_distro=rhel"), "central", "dcn0", "dcn1")
	all := fetch("--all-stores", "true", "--allow-failure", "False")
	c.holds(c.Demo, all, "central", "dcn0", "dcn1")
	shown := c.Demo.Glance("image-show", all)
	c.equal("stores", shown.Get("stores"), "central,dcn0,dcn1")
	c.same(shown.Get("checksum"), shown.Get("os_hash_value"))
	c.Demo.GlanceFails("not valid for this cloud", "image-create-via-import", "--name", "x", "--import-method", "web-download",
		"--uri", c.web.URL+"/disk.raw", "--container-format", "bare", "--disk-format", "raw", "--stores", "central,nowhere")
}

// webDownloadFails says why, and the image can be imported again.
func webDownloadFails(c *cloud) {
	id := c.Demo.Glance("image-create-via-import", "--container-format", "bare", "--disk-format", "raw", "--name", "missing",
		"--import-method", "web-download", "--uri", c.web.URL+"/missing.raw", "--stores", "central,dcn0").Get("id")
	img := c.awaits(c.Demo, id, "the import has failed", func(img lab.Object) bool {
		return img.Text("status") == "queued" && img.Text("os_glance_failed_import") != ""
	})
	c.equal("failed stores", img.Text("os_glance_failed_import"), "central,dcn0")
	tasks := c.Demo.Glance("image-tasks", id)
	if !slices.Equal(tasks.Column("Status"), []string{"failure"}) || !strings.Contains(strings.Join(tasks.Column("Message"), ""), "404") {
		c.T.Errorf("the task does not say why: %v", tasks)
	}
	c.gone(id)
	c.Demo.Glance("image-import", id, "--import-method", "web-download", "--uri", c.web.URL+"/disk.raw")
	img = c.active(c.Demo, id)
	c.equal("failed stores that were not tried again", img.Text("os_glance_failed_import"), "dcn0")
	c.holds(c.Demo, id, "central")
	for _, uri := range []string{"file:///etc/passwd", "ftp://127.0.0.1/disk.raw", "not a url", ""} {
		body := lab.Object{"method": lab.Object{"name": "web-download", "uri": uri}}
		c.Demo.Call(http.MethodPost, "/v2/images/"+c.queue(c.Demo, nil)+"/import", body).Is(http.StatusBadRequest)
	}
}

// importProgress shows which stores are still to come while data flows, and per store how far it is.
func importProgress(c *cloud) {
	id := c.Demo.Glance("image-create-via-import", "--container-format", "bare", "--disk-format", "raw", "--name", "slow",
		"--import-method", "web-download", "--uri", c.web.URL+"/slow/disk.raw", "--all-stores", "true").Get("id")
	img := c.awaits(c.Demo, id, "the import runs", func(img lab.Object) bool { return img.Text("status") == "importing" })
	c.equal("stores to fill", img.Text("os_glance_importing_to_stores"), "central,dcn0,dcn1")
	c.equal("failed stores", img.Text("os_glance_failed_import"), "")
	show := c.Demo.Glance("image-show", id)
	if v, there := show.Lookup("os_glance_importing_to_stores"); !there {
		c.T.Errorf("image-show has no os_glance_importing_to_stores: %v %q", show, v)
	}
	tasks := c.Demo.Call(http.MethodGet, "/v2/images/"+id+"/tasks", nil).Is(http.StatusOK).JSON().Objects("tasks")
	if len(tasks) != 1 || tasks[0].Text("status") != "processing" || tasks[0].Text("type") != "api_image_import" ||
		tasks[0].Text("image_id") != id || tasks[0].Text("owner") != c.Demo.Project() || tasks[0].Text("user_id") != c.Demo.User() {
		c.T.Errorf("tasks: %v", tasks)
	}
	replicas := c.Demo.Call(http.MethodGet, "/v2/images/"+id+"/replicas", nil).Is(http.StatusOK).JSON().Objects("replicas")
	if len(replicas) != 3 {
		c.T.Errorf("replicas: %v", replicas)
	}
	c.open()
	c.active(c.Demo, id)
	show = c.Demo.Glance("image-show", id)
	c.equal("stores to fill at the end", show.Get("os_glance_importing_to_stores"), "")
	c.holds(c.Demo, id, "central", "dcn0", "dcn1")
}
