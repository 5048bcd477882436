package osinfo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestXFS reads what mkfs.xfs makes.
func TestXFS(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tree    tree
		options string
		want    string
	}{
		"small directories":   {debianTree(), "", "debian 12"},
		"one block":           {debianTree().with("etc", 20), "", "debian 12"},
		"several blocks":      {debianTree().with("etc", 1000), "", "debian 12"},
		"several in both":     {debianTree().with("etc", 300).with("usr/lib", 300), "-b size=1024", "debian 12"},
		"1 KiB":               {debianTree(), "-b size=1024", "debian 12"},
		"large directories":   {debianTree().with("etc", 20), "-n size=8192", "debian 12"},
		"large inodes":        {debianTree(), "-i size=1024", "debian 12"},
		"old features":        {debianTree(), "-m bigtime=0,inobtcount=0,reflink=0,rmapbt=0", "debian 12"},
		"large extent counts": {debianTree(), "-i nrext64=1", "debian 12"},
		"large sectors":       {debianTree(), "-s size=4096", "debian 12"},
		"big file":            {tree{"etc/os-release": strings.Repeat("# comment\n", 5000) + debian}, "", "debian 12"},
		"only in /usr":        {tree{"usr/lib/os-release": debian}, "", "debian 12"},
		"nothing":             {tree{"etc/hostname": "x"}, "", ""},
		"version 4":           {debianTree(), "-m crc=0", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := look(t, mkxfs(t, tt.tree, strings.Fields(tt.options)...)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestXFSLongLink reads symbolic links from blocks. mkfs.xfs forgets the heads of these blocks, so the test adds them.
func TestXFSLongLink(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("d", 240)
	for n, block := range map[int]int{2: 4096, 3: 1024} {
		target := strings.Repeat(name+"/../", n) + "../usr/lib/os-release"
		disk := mkxfs(t, tree{
			"etc/os-release@": target, "etc/" + name + "/x": "x", "usr/lib/os-release": debian,
		}, "-b", fmt.Sprint("size=", block))
		if got := look(t, disk); got != "" {
			t.Errorf("without heads: %q", got)
		}
		data, err := os.ReadFile(disk)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, []byte(target))
		copy(data[at:], linkBlock(0, target))
		if got := look(t, write(t, data)); got != "debian 12" {
			t.Errorf("%d bytes in blocks of %d: %q", len(target), block, got)
		}
		data[at] = 'Y'
		if got := look(t, write(t, data)); got != "" {
			t.Errorf("a damaged head: %q", got)
		}
	}
}

// linkBlock is an extent that holds the part of a symbolic link that begins at off.
func linkBlock(off int, part string) []byte {
	b := make([]byte, 56, 1024)
	copy(b, "XSLM")
	be.PutUint32(b[4:], uint32(off))
	be.PutUint32(b[8:], uint32(len(part)))
	return append(b, part...)
}

func TestXFSLinkInTwoExtents(t *testing.T) {
	target := strings.Repeat("x", 1000)
	disk := make([]byte, 4096)
	copy(disk[2048:], linkBlock(0, target[:968]))
	copy(disk[1024:], linkBlock(968, target[968:]))
	x := &xfs{v: viewOf(t, disk), block: 1024, agBlocks: 4, agCount: 1, agLog: 2}
	got, err := x.remote([]extent{{first: 0, at: 2, count: 1}, {first: 1, at: 1, count: 1}}, 1000)
	if err != nil || string(got) != target {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := x.remote([]extent{{first: 0, at: 2, count: 1}}, 1000); err == nil {
		t.Errorf("without the second: %d bytes", len(got))
	}
	if got, err := x.remote([]extent{{first: 0, at: 0, count: 1 << 20}}, 1000); err == nil {
		t.Errorf("a huge extent: %d bytes", len(got))
	}
	copy(disk[1024:], make([]byte, 2048))
	copy(disk[1024:], linkBlock(0, target))
	if got, err := x.remote([]extent{{first: 0, at: 1, count: 2}}, 1000); err != nil || string(got) != target {
		t.Errorf("one extent of two blocks: %d bytes, %v", len(got), err)
	}
}

// viewOf returns a view of a disk.
func viewOf(t *testing.T, disk []byte) view {
	return view{budget: &budget{ctx: t.Context(), disk: bytes.NewReader(disk), left: maxBytes}, size: int64(len(disk))}
}

// write writes a disk.
func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
