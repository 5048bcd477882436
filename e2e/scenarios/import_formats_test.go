package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// brought is a file to import, and what is to become of it.
type brought struct {
	name   string // of the test
	format string // the image's disk format before the import
	origin string // atoll_source_format after it
	qemu   string // what qemu-img calls the format
	args   string // of qemu-img convert
	pack   string // the program that compresses the file
	// way is how the data comes in: "" is web-download.
	way string
	// after works on the file before it is packed.
	after func(l *importLab, file string)
}

const (
	wayGlance = "glance-direct"
	wayUpload = "atollctl from a file"
	wayURL    = "atollctl from a URL"
)

// odd is a size that no cluster divides.
const odd = 40<<20 + 3*512

var everyFormat = []brought{
	{name: "qcow2", format: "qcow2", qemu: "qcow2"},
	{name: "qcow2 version 2", format: "qcow2", qemu: "qcow2", args: "-o compat=0.10", way: wayUpload},
	{name: "qcow2 compressed", format: "qcow2", qemu: "qcow2", args: "-c", way: wayGlance},
	{name: "qcow2 zstd", format: "qcow2", qemu: "qcow2", args: "-c -o compression_type=zstd", way: wayURL},
	{name: "qcow2 lazy refcounts", format: "qcow2", qemu: "qcow2", args: "-o lazy_refcounts=on,preallocation=metadata"},
	{name: "qcow2 extended L2", format: "qcow2", qemu: "qcow2", args: "-o extended_l2=on,cluster_size=128k"},
	{name: "qcow2 clusters of 512 bytes", format: "qcow2", qemu: "qcow2", args: "-o cluster_size=512"},
	{name: "qcow2 clusters of 2 MiB", format: "qcow2", qemu: "qcow2", args: "-c -o cluster_size=2M", way: wayUpload},
	{name: "qcow2 with snapshots", format: "qcow2", qemu: "qcow2", after: snapshots},
	{name: "qcow2 in gzip", format: "qcow2", origin: "qcow2+gzip", qemu: "qcow2", pack: "gzip"},
	{name: "vmdk sparse", format: "vmdk", qemu: "vmdk", args: "-o subformat=monolithicSparse"},
	{name: "vmdk stream", format: "vmdk", qemu: "vmdk", args: "-o subformat=streamOptimized", way: wayGlance},
	{name: "vhd dynamic", format: "vhd", qemu: "vpc", args: "-o subformat=dynamic,force_size=on"},
	{name: "vhd fixed", format: "vhd", qemu: "vpc", args: "-o subformat=fixed,force_size=on"},
	{name: "vhdx", format: "vhdx", qemu: "vhdx", args: "-o subformat=dynamic", way: wayUpload},
	{name: "vdi", format: "vdi", qemu: "vdi"},
	{name: "raw", format: "raw", origin: "-", qemu: "raw"},
	{name: "raw in gzip", format: "raw", origin: "raw+gzip", qemu: "raw", pack: "gzip", way: wayGlance},
	{name: "raw in xz", format: "raw", origin: "raw+xz", qemu: "raw", pack: "xz"},
	{name: "raw in zstd", format: "raw", origin: "raw+zstd", qemu: "raw", pack: "zstd", way: wayURL},
	{name: "raw in bzip2", format: "raw", origin: "raw+bzip2", qemu: "raw", pack: "bzip2"},
}

// TestImportFormats brings images in that qemu-img has made, in every way, to the central store and an edge, and compares
// what RBD holds there with what qemu-img reads from the same files.
func TestImportFormats(t *testing.T) {
	l := newImportLab(t)
	defer l.nothingLeft()()
	source, even := l.disk(odd, 1), l.disk(40<<20, 2)
	web := l.serveDir()
	t.Run("formats", func(t *testing.T) {
		for _, b := range everyFormat {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				from := source
				if b.format == "vhdx" || b.format == "vmdk" { // made of whole KiB
					from = even
				}
				l.in(t).brings(b, from, web.URL)
			})
		}
	})
	for _, test := range []struct {
		name string
		run  func(*importLab, string)
	}{
		{"1 TiB and empty", hugeAndEmpty},
		{"a compressed container", compressedContainer},
		{"the format it has", keptFormat},
		{"an upload", uploadedFormat},
		{"a wrong checksum", wrongChecksum},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(l.in(t), web.URL) })
	}
}

// brings makes the file, imports it and compares.
func (l *importLab) brings(b brought, source, web string) {
	l.T.Helper()
	file := filepath.Join(l.dir, strings.ReplaceAll(b.name, " ", "-"))
	l.run("qemu-img", append(append([]string{"convert", "-f", "raw", "-O", b.qemu}, strings.Fields(b.args)...), source, file)...)
	if b.after != nil {
		b.after(l, file)
	}
	raw := file + ".want"
	l.run("qemu-img", "convert", "-f", b.qemu, "-O", "raw", file, raw)
	want := l.sumFile(raw)
	info, err := os.Stat(raw)
	l.must(err)
	if b.pack != "" {
		packed := file + "." + b.pack
		l.run("bash", "-c", fmt.Sprintf(`%s -1 -c "$0" >"$1"`, b.pack), file, packed)
		file = packed
	}
	id := l.bring(b, file, web+"/"+filepath.Base(file))
	img := l.done(id)
	origin := b.origin
	switch origin {
	case "":
		origin = b.format
	case "-":
		origin = ""
	}
	for name, v := range map[string]any{
		"disk_format": "raw", "container_format": "bare", "size": float64(info.Size()), "virtual_size": float64(info.Size()),
		"stores": "central,dcn0", "os_hash_algo": "sha512",
	} {
		if img[name] != v {
			l.T.Errorf("%s is %v, want %v", name, img[name], v)
		}
	}
	if got := img.Text("atoll_source_format"); got != origin {
		l.T.Errorf("atoll_source_format is %q, want %q", got, origin)
	}
	md5sum, sha := hashes(l, raw)
	if img.Text("checksum") != md5sum || img.Text("os_hash_value") != sha {
		l.T.Errorf("checksum %s, os_hash_value %s; want %s, %s", img.Text("checksum"), img.Text("os_hash_value"), md5sum, sha)
	}
	for _, site := range []string{"central", "dcn0"} {
		if got := l.Sum(site, id); got != want {
			l.T.Errorf("%s holds %s, qemu-img reads %s", site, got, want)
		}
	}
	l.remove(id)
}

// bring imports a file, which is also at a URL, in one of the ways and returns the image.
func (l *importLab) bring(b brought, file, url string) string {
	l.T.Helper()
	switch b.way {
	case wayGlance:
		return l.user.Glance("image-create-via-import", "--name", b.name, "--disk-format", b.format, "--container-format", "bare",
			"--file", file, "--stores", "central,dcn0").Get("id")
	case wayUpload, wayURL:
		from := file
		if b.way == wayURL {
			from = url
		}
		out, errs, code := l.Ctl("image", "import", from, "--name", b.name, "--disk-format", b.format, "--stores", "dcn0",
			"--checksum", "sha256:"+l.sumFile(file), "-o", "json")
		if code != 0 {
			l.T.Fatalf("exit code %d: %s%s", code, out, errs)
		}
		images, err := l.Client.Images.ListImages(l.T.Context(), &hubv1.ListImagesRequest{PageSize: 1000})
		l.must(err)
		for _, img := range images.Images {
			if img.Name == b.name {
				if o := img.GetOrigin(); o.GetDiskFormat() != b.format {
					l.T.Errorf("origin %v", o)
				}
				return img.Id
			}
		}
		l.T.Fatalf("no image of this name: %s", out)
	}
	id := l.queue(b.format)
	l.fetch(id, url, []string{"central", "dcn0"}, lab.Object{"checksum": "sha256:" + l.sumFile(file)}).Is(http.StatusAccepted)
	return id
}

// snapshots makes two snapshots inside a qcow2 and changes the disk after each.
func snapshots(l *importLab, file string) {
	for i := range 2 {
		l.run("qemu-img", "snapshot", "-c", fmt.Sprint("before-", i), file)
		l.run("qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -P %d %dM 3M", 0x40+i, 5+9*i), "-c", "write -z 20M 2M", file)
	}
}

// hashes returns the MD5 and SHA-512 of a file, by the programs that everybody uses.
func hashes(l *importLab, file string) (md5sum, sha string) {
	l.T.Helper()
	of := func(program string) string {
		ctx, cancel := context.WithTimeout(l.T.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, file).Output()
		l.must(err)
		sum, _, _ := strings.Cut(string(out), " ")
		return sum
	}
	return of("md5sum"), of("sha512sum")
}

// hugeAndEmpty is there in seconds, takes no space and has no hashes: nobody has read a TiB of nothing.
func hugeAndEmpty(l *importLab, web string) {
	l.run("qemu-img", "create", "-q", "-f", "qcow2", filepath.Join(l.dir, "huge.qcow2"), "1T")
	id := l.queue("qcow2")
	began := time.Now()
	l.fetch(id, web+"/huge.qcow2", lab.Sites).Is(http.StatusAccepted)
	img := l.done(id)
	took := time.Since(began)
	l.T.Logf("active in %s", took)
	if took > 2*time.Minute {
		l.T.Errorf("an empty disk took %s", took)
	}
	if img["size"] != float64(1<<40) || img["virtual_size"] != float64(1<<40) || img.Text("disk_format") != "raw" {
		l.T.Errorf("image: %v", img)
	}
	for _, s := range lab.Sites {
		var info struct {
			Size int64 `json:"size"`
		}
		l.must(json.Unmarshal([]byte(l.MustRBD(s, "info", "--format", "json", "images/"+id+"@snap")), &info))
		if info.Size != 1<<40 {
			l.T.Errorf("%s: %d bytes", s, info.Size)
		}
		if du := l.MustRBD(s, "du", "--format", "json", "images/"+id); !strings.Contains(du, `"used_size":0`) {
			l.T.Errorf("%s: %s", s, du)
		}
	}
	l.remove(id)
}

// compressedContainer says that the data is compressed on purpose: it stays as it is.
func compressedContainer(l *importLab, web string) {
	id := l.queue("raw", lab.Object{"container_format": "compressed"})
	l.fetch(id, web+"/raw-in-gzip.gzip", []string{"central"}).Is(http.StatusAccepted)
	img := l.done(id)
	if img.Text("container_format") != "compressed" || img["atoll_source_format"] != nil {
		l.T.Errorf("image: %v", img)
	}
	if got, want := l.Sum("central", id), l.sumFile(filepath.Join(l.dir, "raw-in-gzip.gzip")); got != want {
		l.T.Errorf("central holds %s, want %s", got, want)
	}
	l.remove(id)
}

// keptFormat stores a qcow2 as it is, because whoever imports it says so.
func keptFormat(l *importLab, _ string) {
	file := filepath.Join(l.dir, "qcow2")
	data, err := os.ReadFile(file)
	l.must(err)
	id := l.queue("qcow2")
	op, err := l.Client.Upload(l.T.Context(), &hubv1.UploadHeader{Id: id, KeepFormat: true, Target: lab.Select("central")}, bytes.NewReader(data), nil)
	l.must(err)
	l.Succeeds(op)
	if img := l.user.Image(id); img.Text("disk_format") != "qcow2" || img["virtual_size"] != float64(odd) {
		l.T.Errorf("image: %v", img)
	}
	if got, want := l.Sum("central", id), l.sumFile(file); got != want {
		l.T.Errorf("central holds %s, want %s", got, want)
	}
	l.remove(id)
}

// uploadedFormat stores what is uploaded as it is: conversion belongs to imports.
func uploadedFormat(l *importLab, _ string) {
	file := filepath.Join(l.dir, "qcow2")
	f, err := os.Open(file)
	l.must(err)
	defer func() { _ = f.Close() }()
	id := l.queue("qcow2")
	l.user.Call(http.MethodPut, "/v2/images/"+id+"/file", f, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
	if img := l.done(id); img.Text("disk_format") != "qcow2" || img["virtual_size"] != float64(odd) {
		l.T.Errorf("image: %v", img)
	}
	if got, want := l.Sum("central", id), l.sumFile(file); got != want {
		l.T.Errorf("central holds %s, want %s", got, want)
	}
	l.remove(id)
}

// wrongChecksum is about the file as it comes, not the disk in it, and nothing of such a file is published.
func wrongChecksum(l *importLab, web string) {
	for _, name := range []string{"qcow2", "vdi", "raw"} {
		id := l.queue(name)
		sum := l.sumFile(filepath.Join(l.dir, name+".want"))
		if name == "raw" {
			sum = strings.Repeat("0123456789abcdef", 4)
		}
		l.fetch(id, web+"/"+name, []string{"central", "dcn0"}, lab.Object{"checksum": "sha256:" + sum}).Is(http.StatusAccepted)
		l.fails(id, "sha256")
		l.remove(id)
	}
}
