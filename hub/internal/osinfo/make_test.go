package osinfo

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n" +
	"VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n"

// need skips a test where a program is not installed; in CI it has to be.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(find(p)); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("no %s program, which CI installs", p)
		}
		t.Skipf("%s is not installed", p)
	}
}

// find returns the path of a program that only administrators have on their path.
func find(program string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return program
}

// run runs a program with standard input.
func run(t testing.TB, input, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), find(program), args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// tree is a root directory: content by path; a path that ends in @ is a symbolic link.
type tree map[string]string

// debianTree is like that of the distribution.
func debianTree() tree {
	return tree{"etc/os-release@": "../usr/lib/os-release", "usr/lib/os-release": debian, "etc/hostname": "edge\n"}
}

// with returns a copy with n more files in a directory.
func (r tree) with(dir string, n int) tree {
	out := maps.Clone(r)
	for i := range n {
		out[fmt.Sprintf("%s/a-file-with-a-name-that-is-not-short-%04d", dir, i)] = "x"
	}
	return out
}

// write makes the tree below a directory.
func (r tree) write(t testing.TB, root string) {
	t.Helper()
	for path, text := range r {
		path, link := strings.CutSuffix(path, "@")
		path = filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(text, path)
		default:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sized makes a sparse file in dir.
func sized(t testing.TB, dir string, size int64) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "disk")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// mkext makes an ext file system of 16 MiB that holds the tree, and returns its path.
func mkext(t testing.TB, r tree, options ...string) string {
	t.Helper()
	need(t, "mke2fs")
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	r.write(t, root)
	disk := sized(t, dir, 16<<20)
	run(t, "", "mke2fs", append(append([]string{"-q", "-F", "-d", root}, options...), disk)...)
	return disk
}

// mkxfs makes an XFS of 64 MiB, which is less than anybody should use, and returns its path.
func mkxfs(t testing.TB, r tree, options ...string) string {
	t.Helper()
	need(t, "mkfs.xfs")
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	r.write(t, root)
	proto := filepath.Join(dir, "proto")
	var b strings.Builder
	b.WriteString("/\n0 0\nd--755 0 0\n")
	protofile(t, &b, root)
	if err := os.WriteFile(proto, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	disk := sized(t, dir, 64<<20)
	run(t, "", "mkfs.xfs", append(append([]string{"-q", "--unsupported", "-p", proto}, options...), disk)...)
	return disk
}

// protofile describes a directory to mkfs.xfs.
func protofile(t testing.TB, b *strings.Builder, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			fmt.Fprintf(b, "%s d--755 0 0\n", e.Name())
			protofile(t, b, path)
		case e.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(b, "%s l--777 0 0 %s\n", e.Name(), target)
		default:
			fmt.Fprintf(b, "%s ---644 0 0 %s\n", e.Name(), path)
		}
	}
	b.WriteString("$\n")
}

// place copies a file system into a disk at a sector.
func place(t testing.TB, disk, part string, sector int64) {
	t.Helper()
	in, err := os.Open(part)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	if _, err := io.Copy(io.NewOffsetWriter(out, sector*512), in); err != nil {
		t.Fatal(err)
	}
}

// look detects what is on the disk in a file.
func look(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	distro, version := Detect(t.Context(), f, info.Size())
	return strings.TrimSpace(distro + " " + version)
}

// lookAt is look for a disk in memory.
func lookAt(t testing.TB, disk []byte) string {
	distro, version := Detect(t.Context(), bytes.NewReader(disk), int64(len(disk)))
	return strings.TrimSpace(distro + " " + version)
}
