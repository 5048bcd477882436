package scenarios

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imageimport"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/members"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/tasks"
	"github.com/gophercloud/gophercloud/v2/openstack/utils"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// must stops the test at an error.
func (c *cloud) must(err error) {
	c.T.Helper()
	if err != nil {
		c.T.Fatal(err)
	}
}

// gopherImages creates, fills, changes, reads and deletes an image through gophercloud.
func gopherImages(c *cloud) {
	ctx, sc := c.T.Context(), c.Demo.Service()
	hidden, visibility := true, images.ImageVisibilityPrivate
	img, err := images.Create(ctx, sc, images.CreateOpts{
		Name: "gopher", DiskFormat: "raw", ContainerFormat: "bare", Visibility: &visibility, Hidden: &hidden, Tags: []string{"go"},
		MinDisk: 1, MinRAM: 2, Properties: map[string]string{"os_distro": "plan9"},
	}).Extract()
	c.must(err)
	if img.Status != images.ImageStatusQueued || img.Owner != c.Demo.Project() || !img.Hidden || !slices.Contains(img.OpenStackImageStoreIDs, "dcn1") ||
		!slices.Contains(img.OpenStackImageImportMethods, "web-download") {
		c.T.Errorf("created: %+v", img)
	}
	c.must(imagedata.Upload(ctx, sc, img.ID, bytes.NewReader(c.data)).ExtractErr())
	c.holds(c.Demo, img.ID, "central")
	img, err = images.Update(ctx, sc, img.ID, images.UpdateOpts{
		images.ReplaceImageName{NewName: "gopher two"},
		images.ReplaceImageTags{NewTags: []string{"go", "gone"}},
		images.ReplaceImageHidden{NewHidden: false},
		images.ReplaceImageMinRam{NewMinRam: 7},
		images.ReplaceImageProtected{NewProtected: true},
		images.UpdateImageProperty{Op: images.AddOp, Name: "hw_disk_bus", Value: "scsi"},
		images.UpdateImageProperty{Op: images.ReplaceOp, Name: "os_distro", Value: "inferno"},
		images.UpdateVisibility{Visibility: images.ImageVisibilityCommunity},
	}).Extract()
	c.must(err)
	if img.Name != "gopher two" || img.MinRAMMegabytes != 7 || !img.Protected || img.Properties["os_distro"] != "inferno" || len(img.Tags) != 2 {
		c.T.Errorf("updated: %+v", img)
	}
	body, err := imagedata.Download(ctx, sc, img.ID).Extract()
	c.must(err)
	got, err := io.ReadAll(body)
	c.must(err)
	if !bytes.Equal(got, c.data) {
		c.T.Error("the download differs")
	}
	if err := images.Delete(ctx, sc, img.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, 403) {
		c.T.Errorf("deleting a protected image: %v", err)
	}
	_, err = images.Update(ctx, sc, img.ID, images.UpdateOpts{images.ReplaceImageProtected{NewProtected: false}}).Extract()
	c.must(err)
	c.must(images.Delete(ctx, sc, img.ID).ExtractErr())
	c.gone(img.ID)
	if _, err := images.Get(ctx, sc, img.ID).Extract(); !gophercloud.ResponseCodeIs(err, 404) {
		c.T.Errorf("a deleted image: %v", err)
	}
}

// gopherImports imports in every way, and reads the tasks.
func gopherImports(c *cloud) {
	ctx, sc := c.T.Context(), c.Demo.Service()
	info, err := imageimport.Get(ctx, sc).Extract()
	c.must(err)
	if want := []string{"copy-image", "glance-direct", "web-download"}; !slices.Equal(slices.Sorted(slices.Values(info.ImportMethods.Value)), want) {
		c.T.Errorf("import methods: %v", info.ImportMethods.Value)
	}
	staged := c.queue(c.Demo, nil)
	c.must(imagedata.Stage(ctx, sc, staged, bytes.NewReader(c.data)).ExtractErr())
	c.must(imageimport.Create(ctx, sc, staged, imageimport.CreateOpts{Name: imageimport.GlanceDirectMethod}).ExtractErr())
	web := c.queue(c.Demo, nil)
	c.must(imageimport.Create(ctx, sc, web, imageimport.CreateOpts{Name: imageimport.WebDownloadMethod, URI: c.web.URL + "/disk.raw"}).ExtractErr())
	for _, id := range []string{staged, web} {
		c.active(c.Demo, id)
		c.holds(c.Demo, id, "central")
	}
	admin := c.Admin.Service()
	var found *tasks.Task
	err = tasks.List(admin, tasks.ListOpts{Limit: 2}).EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		all, err := tasks.ExtractTasks(page)
		for _, t := range all {
			full, err := tasks.Get(ctx, admin, t.ID).Extract()
			if err != nil {
				return false, err
			}
			if strings.Contains(strings.Join(values(full.Input), " "), web) {
				found = full
			}
		}
		return found == nil, err
	})
	c.must(err)
	if found == nil || found.Status != string(tasks.TaskStatusSuccess) || found.Owner != c.Demo.Project() {
		c.T.Errorf("the task of the import: %+v", found)
	}
	task, err := tasks.Create(ctx, admin, tasks.CreateOpts{Type: "import", Input: map[string]any{
		"import_from": c.web.URL + "/disk.raw", "import_from_format": "raw",
		"image_properties": map[string]any{"name": c.T.Name(), "disk_format": "raw", "container_format": "bare"},
	}}).Extract()
	c.must(err)
	lab.Eventually(c.T, waitShort, "the task ends", func() error {
		task, err = tasks.Get(ctx, admin, task.ID).Extract()
		if err == nil && task.Status != string(tasks.TaskStatusSuccess) {
			err = errNotYet
		}
		return err
	})
	id, _ := task.Result["image_id"].(string)
	c.holds(c.Admin, id, "central")
	if _, err := tasks.List(sc, nil).AllPages(ctx); !gophercloud.ResponseCodeIs(err, 403) {
		c.T.Errorf("tasks for an ordinary user: %v", err)
	}
}

// values returns the strings in a JSON object.
func values(m map[string]any) []string {
	var all []string
	for _, v := range m {
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case map[string]any:
			all = append(all, values(v)...)
		}
	}
	return all
}

// gopherLists reads pages, filters, and the versions.
func gopherLists(c *cloud) {
	ctx, sc := c.T.Context(), c.Demo.Service()
	want := map[string]bool{}
	for range 7 {
		want[c.queue(c.Demo, lab.Object{"tags": []string{"paged"}})] = true
	}
	seen, count := map[string]bool{}, 0
	err := images.List(sc, images.ListOpts{Tags: []string{"paged"}, Limit: 2, Sort: "created_at:asc"}).
		EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
			all, err := images.ExtractImages(page)
			for _, img := range all {
				seen[img.ID] = true
			}
			count++
			return true, err
		})
	c.must(err)
	if len(seen) != len(want) || count < 4 {
		c.T.Errorf("%d images on %d pages", len(seen), count)
	}
	pages, err := images.List(sc, images.ListOpts{Status: images.ImageStatusQueued, Owner: c.Demo.Project(), Tags: []string{"paged"}}).AllPages(ctx)
	c.must(err)
	if all, err := images.ExtractImages(pages); err != nil || len(all) != len(want) {
		c.T.Errorf("all pages: %d images, %v", len(all), err)
	}
	versions, err := utils.GetServiceVersions(ctx, c.Demo.Provider(), c.Base()+"/", false)
	c.must(err)
	current := 0
	for _, v := range versions {
		if v.Status == utils.StatusCurrent {
			current++
			if v.Major != 2 || v.Minor != 17 {
				c.T.Errorf("current version %+v", v)
			}
		}
	}
	if current != 1 {
		c.T.Errorf("versions: %+v", versions)
	}
}

// gopherMembers shares an image.
func gopherMembers(c *cloud) {
	ctx, sc, other := c.T.Context(), c.Demo.Service(), c.Alt.Service()
	id := c.queue(c.Demo, nil)
	m, err := members.Create(ctx, sc, id, c.Alt.Project()).Extract()
	c.must(err)
	if m.Status != "pending" || m.MemberID != c.Alt.Project() || m.ImageID != id || m.Schema != "/v2/schemas/member" {
		c.T.Errorf("member: %+v", m)
	}
	m, err = members.Update(ctx, other, id, c.Alt.Project(), members.UpdateOpts{Status: "accepted"}).Extract()
	c.must(err)
	c.equal("status", m.Status, "accepted")
	pages, err := members.List(sc, id).AllPages(ctx)
	c.must(err)
	if all, err := members.ExtractMembers(pages); err != nil || len(all) != 1 || all[0].Status != "accepted" {
		c.T.Errorf("members: %v %v", all, err)
	}
	c.must(members.Delete(ctx, sc, id, c.Alt.Project()).ExtractErr())
	if _, err := members.Get(ctx, sc, id, c.Alt.Project()).Extract(); !gophercloud.ResponseCodeIs(err, 404) {
		c.T.Errorf("a member that was removed: %v", err)
	}
}
