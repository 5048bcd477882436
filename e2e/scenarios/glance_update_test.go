package scenarios

import (
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// guideProperties is one value for each property that the guide's appendix A lists.
var guideProperties = map[string]string{
	"architecture": "x86_64", "hypervisor_type": "kvm", "instance_uuid": "6b3b9a3f-9f26-4ff2-8cd4-7f4d0a0b0c0d",
	"kernel_id": "6b3b9a3f-9f26-4ff2-8cd4-7f4d0a0b0c0e", "os_distro": "rhel", "os_version": "9.4",
	"ramdisk_id": "6b3b9a3f-9f26-4ff2-8cd4-7f4d0a0b0c0f", "vm_mode": "hvm", "hw_disk_bus": "virtio", "hw_cdrom_bus": "ide",
	"hw_numa_nodes": "2", "hw_numa_cpus.0": "0,1", "hw_numa_cpus.1": "2,3", "hw_numa_mem.0": "512", "hw_numa_mem.1": "1024",
	"hw_qemu_guest_agent": "yes", "hw_rng_model": "virtio", "hw_scsi_model": "virtio-scsi", "hw_video_model": "qxl",
	"hw_video_ram": "64", "hw_watchdog_action": "reset", "os_command_line": "console=ttyS0", "hw_vif_model": "e1000",
	"vmware_adaptertype": "lsiLogic", "vmware_ostype": "otherGuest", "vmware_image_version": "1", "auto_disk_config": "true",
	"os_type": "linux",
}

// updateImage sets and removes everything that can be.
func updateImage(c *cloud) {
	id := c.queue(c.Demo, nil)
	args := []string{"image-update", id, "--name", "renamed", "--min-ram", "128", "--min-disk", "2", "--property", "free=to=choose"}
	for name, value := range guideProperties {
		args = append(args, "--property", name+"="+value)
	}
	got := c.Demo.Glance(args...)
	for name, want := range guideProperties {
		c.equal(name, got.Get(name), want)
	}
	c.equal("free", got.Get("free"), "to=choose")
	c.equal("name", got.Get("name"), "renamed")
	c.equal("min_ram", got.Get("min_ram"), "128")

	got = c.Demo.Glance("image-update", id, "--remove-property", "free", "--remove-property", "hw_video_ram", "--property", "os_type=windows",
		"--container-format", "ovf", "--disk-format", "vmdk")
	if _, there := got.Lookup("free"); there {
		c.T.Error("a removed property is still there")
	}
	c.equal("os_type", got.Get("os_type"), "windows")
	c.equal("disk_format", got.Get("disk_format"), "vmdk")
	c.equal("hw_vif_model", got.Get("hw_vif_model"), "e1000")

	c.Demo.GlanceFails("HTTP 403", "image-update", id, "--visibility", "public")
	c.Demo.GlanceFails("HTTP 403", "image-update", id, "--owner", c.Alt.Project())
	c.Demo.GlanceFails("HTTP 403", "image-update", id, "--property", "os_glance_import_task=mine")
	c.Alt.GlanceFails("HTTP 404", "image-update", id, "--name", "stolen")
	c.equal("visibility", c.Admin.Glance("image-update", id, "--visibility", "public").Get("visibility"), "public")
	c.Alt.GlanceFails("HTTP 403", "image-update", id, "--name", "stolen")
	c.equal("name", c.Alt.Glance("image-show", id).Get("name"), "renamed")
	c.equal("owner", c.Admin.Glance("image-update", id, "--owner", c.Alt.Project()).Get("owner"), c.Alt.Project())
	c.Alt.Glance("image-delete", id)
}

// hideImage takes an image out of the lists.
func hideImage(c *cloud) {
	id := c.queue(c.Demo, lab.Object{"tags": []string{"centos7"}})
	listed := func(args ...string) bool {
		c.T.Helper()
		return slices.Contains(c.Demo.Glance(append([]string{"image-list", "--tag", "centos7"}, args...)...).Column("ID"), id)
	}
	c.equal("os_hidden", c.Demo.Glance("image-update", id, "--hidden", "true").Get("os_hidden"), "True")
	if listed() || !listed("--hidden", "true") {
		c.T.Error("a hidden image is in the wrong list")
	}
	c.equal("name", c.Demo.Glance("image-show", id).Get("name"), c.T.Name())
	c.equal("os_hidden", c.Demo.Glance("image-update", id, "--hidden", "false").Get("os_hidden"), "False")
	if !listed() || listed("--hidden", "true") {
		c.T.Error("an image that is hidden no more is in the wrong list")
	}
	born := c.Demo.Glance("image-create", "--name", "old", "--hidden", "True", "--disk-format", "raw", "--container-format", "bare")
	c.equal("os_hidden of a new image", born.Get("os_hidden"), "True")
}

// tagImage adds and removes tags.
func tagImage(c *cloud) {
	id := c.queue(c.Demo, nil)
	c.Demo.Glance("image-tag-update", id, "gold")
	c.Demo.Glance("image-tag-update", id, "gold")
	c.Demo.Glance("image-tag-update", id, "été 12")
	c.equal("tags", strings.Join(texts(c.Demo.Image(id)["tags"]), ";"), "gold;été 12")
	if ids := c.Demo.Glance("image-list", "--tag", "gold", "--tag", "été 12").Column("ID"); !slices.Equal(ids, []string{id}) {
		c.T.Errorf("images with both tags: %v", ids)
	}
	c.Demo.Glance("image-tag-delete", id, "gold")
	c.Demo.GlanceFails("HTTP 404", "image-tag-delete", id, "gold")
	c.Alt.GlanceFails("HTTP 404", "image-tag-update", id, "mine")
	c.equal("tags", strings.Join(texts(c.Demo.Image(id)["tags"]), ";"), "été 12")
}

// texts returns the strings of a JSON array, sorted.
func texts(v any) []string {
	array, _ := v.([]any)
	all := []string{}
	for _, e := range array {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// deactivateImage keeps an image's data from users but not from the administrator.
func deactivateImage(c *cloud) {
	id := c.create(c.Demo, nil)
	c.Alt.GlanceFails("HTTP 404", "image-deactivate", id)
	c.Demo.Glance("image-deactivate", id)
	c.equal("status", c.Demo.Glance("image-show", id).Get("status"), "deactivated")
	c.Demo.GlanceFails("HTTP 403", "image-download", "--file", "never", id)
	c.saved(c.Admin, id)
	c.Demo.Glance("image-deactivate", id)
	c.Demo.Glance("image-reactivate", id)
	c.Demo.Glance("image-reactivate", id)
	c.equal("status", c.Demo.Glance("image-show", id).Get("status"), "active")
	c.saved(c.Demo, id)
	c.Demo.GlanceFails("HTTP 403", "image-deactivate", c.queue(c.Demo, nil))
}
