package scenarios

import (
	"net/http"
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// copyImage copies by the guide's section 2.3.
func copyImage(c *cloud) {
	id := c.create(c.Admin, lab.Object{"visibility": "public"})
	c.Admin.Glance("image-import", id, "--stores", "dcn0,dcn1", "--import-method", "copy-image")
	c.active(c.Admin, id)
	c.holds(c.Admin, id, "central", "dcn0", "dcn1")
	list := c.Admin.Glance("image-list", "--include-stores", "--page-size", onePage)
	c.equal("stores in image-list", list.Of(id, "Stores"), "central,dcn0,dcn1")
	c.Admin.GlanceFails("HTTP 400", "image-import", id, "--stores", "dcn0", "--import-method", "copy-image")
	c.Admin.Glance("image-import", id, "--all-stores", "true", "--import-method", "copy-image") // nothing is left to do
	c.Admin.GlanceFails("not valid for this cloud", "image-import", id, "--stores", "nowhere", "--import-method", "copy-image")

	other := c.create(c.Demo, nil)
	c.Demo.Glance("image-import", other, "--all-stores", "true", "--import-method", "copy-image")
	c.active(c.Demo, other)
	c.holds(c.Demo, other, "central", "dcn0", "dcn1")
	c.Alt.GlanceFails("HTTP 404", "image-import", other, "--all-stores", "true", "--import-method", "copy-image")
	copying := lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": []string{"dcn0"}}
	c.Demo.Call(http.MethodPost, "/v2/images/"+c.queue(c.Demo, nil)+"/import", copying).Is(http.StatusConflict)
	copying["stores"] = []string{}
	c.Demo.Call(http.MethodPost, "/v2/images/"+other+"/import", copying).Is(http.StatusBadRequest)
	copying["stores"] = []string{"nowhere"}
	c.Demo.Call(http.MethodPost, "/v2/images/"+other+"/import", copying).Is(http.StatusConflict)
}

// deleteFromStore removes one copy, never the last one, and never one that is in use.
func deleteFromStore(c *cloud) {
	id := c.create(c.Admin, lab.Object{"visibility": "public"}, "dcn0", "dcn1")
	c.Demo.GlanceFails("Unable to delete", "stores-delete", "--store", "dcn1", id)
	c.Admin.Glance("stores-delete", "--store", "dcn1", id)
	c.settled(c.Admin, id, "central", "dcn0")
	c.Admin.GlanceFails("not found", "stores-delete", "--store", "dcn1", id)
	unclone := c.Clone("dcn0", id, "1")
	c.Admin.GlanceFails("HTTP 409", "stores-delete", "--store", "dcn0", id)
	c.settled(c.Admin, id, "central", "dcn0")
	// The image as a whole is in use as well, and the refusal has touched no copy.
	c.Admin.GlanceFails("because it is in use", "image-delete", id)
	c.active(c.Admin, id)
	c.settled(c.Admin, id, "central", "dcn0")
	unclone()
	c.Admin.Glance("stores-delete", "--store", "dcn0", id)
	c.Admin.GlanceFails("HTTP 403", "stores-delete", "--store", "central", id)
	c.settled(c.Admin, id, "central")
	c.Admin.Glance("image-delete", id)
	c.gone(id)
}

// settled is holds once a removal has been carried out or taken back, for which the answer does not wait longer than some seconds.
func (c *cloud) settled(a *lab.Actor, id string, stores ...string) {
	c.T.Helper()
	c.awaits(a, id, "the image is in "+strings.Join(stores, " and "), func(img lab.Object) bool {
		return img.Text("stores") == strings.Join(stores, ",") && !slices.ContainsFunc(lab.Sites, func(s string) bool {
			return slices.Contains(c.Images(s), id) != slices.Contains(stores, s)
		})
	})
	c.holds(a, id, stores...)
}

// storesInfo says which stores there are.
func storesInfo(c *cloud) {
	info := c.Demo.Call(http.MethodGet, "/v2/info/stores", nil).Is(http.StatusOK).JSON().Objects("stores")
	ids := []string{}
	for _, s := range info {
		ids = append(ids, s.Text("id"))
		if _, there := s["default"]; there != (s.Text("id") == "central") || there && s.Text("default") != "true" {
			c.T.Errorf("store: %v", s)
		}
	}
	if !slices.Equal(ids, lab.Sites) {
		c.T.Errorf("stores: %v", info)
	}
	if out := c.Demo.Glance("stores-info").Get("stores"); !strings.Contains(out, `"id": "dcn1"`) {
		c.T.Errorf("stores-info: %s", out)
	}
	c.Demo.GlanceFails("HTTP 403", "stores-info", "--detail")
	detail := c.Admin.Glance("stores-info", "--detail").Get("stores")
	for _, want := range []string{`"type": "rbd"`, `"pool": "images"`, c.Ceph("dcn0", "fsid")} {
		if !strings.Contains(detail, want) {
			c.T.Errorf("stores-info --detail has no %s: %s", want, detail)
		}
	}
	methods := c.Demo.Glance("import-info").Get("import-methods")
	for _, want := range []string{"glance-direct", "web-download", "copy-image"} {
		if !strings.Contains(methods, want) {
			c.T.Errorf("import-info has no %s: %s", want, methods)
		}
	}
	c.Demo.Glance("usage")
	c.Demo.GlanceFails("HTTP 403", "task-list")
	c.Admin.Glance("task-list")
	explained := c.Demo.Glance("explain", "image").Column("Attribute")
	for _, want := range []string{"disk_format", "os_hidden", "stores", "os_glance_importing_to_stores", "os_glance_failed_import"} {
		if !slices.Contains(explained, want) {
			c.T.Errorf("explain image has no %s: %v", want, explained)
		}
	}
}

// failedStore lets the store of a site refuse data while others take it: once with failures allowed, once without.
// It spoils dcn1 for everybody else, so that it runs alone.
func failedStore(c *cloud) {
	c.Ceph("dcn1", "osd", "pool", "set-quota", "images", "max_bytes", "1048576")
	defer c.Ceph("dcn1", "osd", "pool", "set-quota", "images", "max_bytes", "0")
	fetch := func(allow string) string {
		c.T.Helper()
		return c.Demo.Glance("image-create-via-import", "--container-format", "bare", "--disk-format", "raw", "--name", "partly",
			"--import-method", "web-download", "--uri", c.web.URL+"/disk.raw", "--stores", "central,dcn0,dcn1",
			"--allow-failure", allow).Get("id")
	}
	some := fetch("True")
	img := c.awaits(c.Demo, some, "one store fails", func(img lab.Object) bool {
		return img.Text("status") == "active" && img.Text("os_glance_failed_import") == "dcn1" && img.Text("os_glance_importing_to_stores") == ""
	})
	c.equal("stores", img.Text("stores"), "central,dcn0")
	c.equal("os_glance_failed_import", c.Demo.Glance("image-show", some).Get("os_glance_failed_import"), "dcn1")
	c.holds(c.Demo, some, "central", "dcn0")

	none := fetch("False")
	img = c.awaits(c.Demo, none, "the import is undone", func(img lab.Object) bool {
		return img.Text("status") == "queued" && strings.Contains(img.Text("os_glance_failed_import"), "dcn1")
	})
	c.equal("stores", img.Text("stores"), "")
	c.gone(none)
	tasks := c.Demo.Glance("image-tasks", none)
	if !slices.Equal(tasks.Column("Status"), []string{"failure"}) || !strings.Contains(strings.Join(tasks.Column("Message"), ""), "dcn1") {
		c.T.Errorf("the task does not say why: %v", tasks)
	}

	// A staged image can be imported again after a failure.
	staged := c.queue(c.Demo, nil)
	c.Demo.Glance("image-stage", "--file", c.file, staged)
	c.Demo.Glance("image-import", staged, "--import-method", "glance-direct", "--stores", "central,dcn1", "--allow-failure", "False")
	c.awaits(c.Demo, staged, "the import is undone", func(img lab.Object) bool {
		return img.Text("status") == "uploading" && strings.Contains(img.Text("os_glance_failed_import"), "dcn1")
	})
	c.Ceph("dcn1", "osd", "pool", "set-quota", "images", "max_bytes", "0")
	lab.Eventually(c.T, waitShort, "the pool takes data again", func() error {
		if strings.Contains(c.Ceph("dcn1", "osd", "pool", "ls", "detail"), "full_quota") {
			return errNotYet
		}
		return nil
	})
	c.Demo.Glance("image-import", staged, "--import-method", "glance-direct", "--stores", "central,dcn1", "--allow-failure", "False")
	c.active(c.Demo, staged)
	c.holds(c.Demo, staged, "central", "dcn1")
	c.Demo.Glance("image-import", some, "--import-method", "copy-image", "--stores", "dcn1")
	c.active(c.Demo, some)
	c.holds(c.Demo, some, "central", "dcn0", "dcn1")
}
