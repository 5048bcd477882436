package osinfo

import (
	"strings"
	"testing"
)

// TestExt reads what mke2fs makes, with every option that changes what is read.
func TestExt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("../usr/../usr/", 8) + "lib/../../usr/lib/os-release"
	tests := map[string]struct {
		tree    tree
		options string
		check   string // options of e2fsck; it is not run without
		want    string
	}{
		"ext4":                 {debianTree(), "-t ext4", "", "debian 12"},
		"ext4 64bit":           {debianTree(), "-t ext4 -O 64bit", "", "debian 12"},
		"ext4 without 64bit":   {debianTree(), "-t ext4 -O ^64bit", "", "debian 12"},
		"ext4 plain":           {debianTree(), "-t ext4 -O ^metadata_csum,^flex_bg,^has_journal", "", "debian 12"},
		"ext4 metadata seed":   {debianTree(), "-t ext4 -O metadata_csum_seed", "", "debian 12"},
		"ext4 4 KiB":           {debianTree(), "-t ext4 -b 4096", "", "debian 12"},
		"ext4 64 KiB":          {debianTree(), "-t ext4 -b 65536 -O ^has_journal", "", "debian 12"},
		"ext4 small inodes":    {debianTree(), "-t ext4 -I 128", "", "debian 12"},
		"ext4 big clusters":    {debianTree(), "-t ext4 -O bigalloc", "", "debian 12"},
		"ext4 casefold":        {debianTree(), "-t ext4 -O casefold", "", "debian 12"},
		"ext3":                 {debianTree(), "-t ext3", "", "debian 12"},
		"ext2":                 {debianTree(), "-t ext2", "", "debian 12"},
		"ext2 revision 0":      {debianTree(), "-t ext2 -r 0 -O none", "", "debian 12"},
		"linear directory":     {debianTree().with("etc", 300), "-t ext4", "", "debian 12"},
		"indexed directory":    {debianTree().with("etc", 300), "-t ext4 -b 1024", "-fyD", "debian 12"},
		"indexed twice":        {debianTree().with("etc", 3000), "-t ext4 -b 1024 -N 8000", "-fyD", "debian 12"},
		"blocks of blocks":     {debianTree().with("usr/lib", 3000), "-t ext2 -b 1024 -N 8000", "", "debian 12"},
		"long link":            {tree{"etc/os-release@": long, "usr/lib/os-release": debian}, "-t ext4", "", "debian 12"},
		"long link, block map": {tree{"etc/os-release@": long, "usr/lib/os-release": debian}, "-t ext2", "", "debian 12"},
		"big file, block map":  {tree{"etc/os-release": strings.Repeat("# comment\n", 5000) + debian}, "-t ext2 -b 1024", "", "debian 12"},
		"big file":             {tree{"etc/os-release": strings.Repeat("# comment\n", 5000) + debian}, "-t ext4 -b 1024", "", "debian 12"},
		"too big a file":       {tree{"etc/os-release": strings.Repeat("# comment\n", 7000) + debian}, "-t ext4", "", ""},
		"only in /usr":         {tree{"usr/lib/os-release": debian}, "-t ext4", "", "debian 12"},
		"nothing":              {tree{"etc/hostname": "x"}, "-t ext4", "", ""},
		"meta_bg":              {debianTree(), "-t ext4 -O meta_bg,^resize_inode", "", ""},
		"data in inodes":       {debianTree(), "-t ext4 -O inline_data", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := mkext(t, tt.tree, strings.Fields(tt.options)...)
			if tt.check != "" {
				need(t, "e2fsck")
				run(t, "", "sh", "-c", `"$0" "$@" || [ $? -eq 1 ]`, find("e2fsck"), tt.check, disk)
			}
			if got := look(t, disk); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestExtInUse does not trust a file system that was not unmounted.
func TestExtInUse(t *testing.T) {
	need(t, "debugfs")
	for _, change := range []string{"feature needs_recovery", "set_super_value state 0", "set_super_value state 3"} {
		disk := mkext(t, debianTree(), "-t", "ext4")
		run(t, "", "debugfs", "-w", "-R", change, disk)
		if got := look(t, disk); got != "" {
			t.Errorf("%s: %q", change, got)
		}
	}
}
