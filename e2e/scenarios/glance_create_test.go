package scenarios

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// createFromFile is glance image-create with everything that it can say, and what comes back.
func createFromFile(c *cloud) {
	got := c.Demo.Glance("image-create", "--name", "from a file", "--disk-format", "raw", "--container-format", "bare",
		"--file", c.file, "--progress", "--min-disk", "1", "--min-ram", "64", "--tags", "one", "two",
		"--architecture", "x86_64", "--os-distro", "debian", "--property", "hw_disk_bus=scsi")
	id := got.Get("id")
	for name, want := range map[string]string{
		"name": "from a file", "status": "active", "disk_format": "raw", "container_format": "bare", "visibility": "shared",
		"protected": "False", "os_hidden": "False", "min_disk": "1", "min_ram": "64", "size": strconv.Itoa(len(c.data)),
		"owner": c.Demo.Project(), "architecture": "x86_64", "os_distro": "debian", "hw_disk_bus": "scsi", "os_hash_algo": "sha512",
		"stores": "central", "tags": `["one", "two"]`, "virtual_size": strconv.Itoa(len(c.data)),
	} {
		c.equal(name, got.Get(name), want)
	}
	c.same(got.Get("checksum"), got.Get("os_hash_value"))
	for _, name := range []string{"locations", "direct_url"} {
		if v, shown := got.Lookup(name); shown {
			c.T.Errorf("an ordinary user sees %s: %s", name, v)
		}
	}
	c.holds(c.Demo, id, "central")
	show := c.Demo.Glance("image-show", id)
	c.equal("the name in image-show", show.Get("name"), "from a file")
	human := c.Demo.Glance("image-show", id, "--human-readable")
	c.equal("the size for people", human.Get("size"), "16MB")
	c.saved(c.Demo, id)

	list := c.Demo.Glance("image-list")
	if !slices.Contains(list.Column("ID"), id) {
		c.T.Errorf("image-list does not show the image: %v", list)
	}
	if slices.Contains(c.Alt.Glance("image-list").Column("ID"), id) {
		c.T.Error("a user of another project sees the image in the list")
	}
	c.Alt.GlanceFails("No image with an ID", "image-delete", id)
	c.Demo.Glance("image-delete", id)
	c.gone(id) // a site that is slow to answer may let the delete go on after the command
	c.Demo.GlanceFails("HTTP 404", "image-show", id)
}

// saved downloads an image with glance and compares it.
func (c *cloud) saved(a *lab.Actor, id string) {
	c.T.Helper()
	path := filepath.Join(c.Dir, "saved-"+a.Name+"-"+id)
	a.Glance("image-download", "--file", path, "--progress", id)
	if got := a.Read(path); !bytes.Equal(got, c.data) {
		c.T.Errorf("the download has %d bytes and differs", len(got))
	}
}

// createFromStdin sends data whose length nobody knows.
func createFromStdin(c *cloud) {
	got := c.Demo.GlanceFrom(bytes.NewReader(c.data), "image-create", "--name", "piped", "--disk-format", "raw",
		"--container-format", "bare", "--store", "central")
	c.equal("status", got.Get("status"), "active")
	c.same(got.Get("checksum"), got.Get("os_hash_value"))
	c.holds(c.Demo, got.Get("id"), "central")
	id := c.Demo.Glance("image-create", "--name", "later", "--disk-format", "raw", "--container-format", "bare").Get("id")
	c.equal("status before the upload", c.Demo.Glance("image-show", id).Get("status"), "queued")
	c.Demo.GlanceFrom(bytes.NewReader(c.data), "image-upload", id)
	c.holds(c.Demo, id, "central")
	c.Demo.GlanceFails("HTTP 409", "image-upload", "--file", c.file, id)
	c.holds(c.Demo, id, "central")
	// An upload to a store that does not exist is refused, and the image can still have its data.
	other := c.Demo.Glance("image-create", "--name", "third", "--disk-format", "raw", "--container-format", "bare").Get("id")
	c.Demo.GlanceFails("not valid for this cloud", "image-upload", "--file", c.file, "--store", "nowhere", other)
	c.Demo.Glance("image-upload", "--file", c.file, "--store", "dcn0", other)
	c.awaits(c.Demo, other, "the central store has it too", func(img lab.Object) bool { return img.Text("stores") == "central,dcn0" })
	c.holds(c.Demo, other, "central", "dcn0")
}

// createChosen gives the image its id, protects it and deletes it.
func createChosen(c *cloud) {
	const id = "6f1d3a52-7d3d-4c0c-9d52-0a3f4be7a001"
	got := c.Demo.Glance("image-create", "--id", id, "--name", "chosen", "--disk-format", "raw", "--container-format", "bare",
		"--protected", "True", "--visibility", "private", "--file", c.file)
	c.equal("id", got.Get("id"), id)
	c.equal("protected", got.Get("protected"), "True")
	c.Demo.GlanceFails("HTTP 409", "image-create", "--id", id, "--name", "again")
	c.Demo.GlanceFails("You are not permitted", "image-delete", id)
	c.holds(c.Demo, id, "central")
	c.Alt.GlanceFails("HTTP 404", "image-show", id)
	c.Demo.Glance("image-update", id, "--protected", "False")
	c.Demo.Glance("image-delete", id)
	c.gone(id)
	// Several at once, of which one does not exist.
	one, two := c.queue(c.Demo, nil), c.queue(c.Demo, nil)
	out, errs, code := c.Demo.Run(nil, "glance", "image-delete", one, "6f1d3a52-7d3d-4c0c-9d52-0a3f4be7a002", two)
	if code == 0 {
		c.T.Errorf("deleting an image that does not exist succeeds: %s%s", out, errs)
	}
	c.Demo.GlanceFails("HTTP 404", "image-show", two)
}

// createQCOW2 keeps the bytes of an image in another format as they are.
func createQCOW2(c *cloud) {
	path := filepath.Join(c.Dir, "disk.qcow2")
	if out, err := exec.CommandContext(c.T.Context(), "qemu-img", "convert", "-f", "raw", "-O", "qcow2", c.file, path).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			c.T.Fatalf("qemu-img: %v\n%s", err, out)
		}
		c.T.Skipf("qemu-img: %v\n%s", err, out)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		c.T.Fatal(err)
	}
	got := c.Demo.Glance("image-create", "--name", "qcow2", "--disk-format", "qcow2", "--container-format", "bare", "--file", path)
	c.equal("status", got.Get("status"), "active")
	c.equal("size", got.Get("size"), strconv.Itoa(len(want)))
	save := filepath.Join(c.Dir, "saved.qcow2")
	c.Demo.Glance("image-download", "--file", save, got.Get("id"))
	if !bytes.Equal(c.Demo.Read(save), want) {
		c.T.Error("the download differs")
	}
	// To standard output, as in a pipe.
	out, _, code := c.Demo.Run(nil, "glance", "image-download", got.Get("id"))
	if code != 0 || !bytes.Equal([]byte(out), want) {
		c.T.Errorf("the download to standard output has %d bytes and exit code %d", len(out), code)
	}
	queued := c.queue(c.Demo, nil)
	c.Demo.GlanceFails("has no data", "image-download", "--file", save, queued)
	answer := c.Demo.Call("GET", "/v2/images/"+got.Get("id")+"/file", nil, "Range", "bytes=5-14").Is(206)
	if r := answer.Header.Get("Content-Range"); !bytes.Equal(answer.Body, want[5:15]) || r != "bytes 5-14/"+strconv.Itoa(len(want)) {
		c.T.Errorf("a range: %q, Content-Range %q", answer.Body, r)
	}
}
