package osinfo

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"
)

// TestPartitions finds the systems on partitioned disks that sfdisk makes.
func TestPartitions(t *testing.T) {
	t.Parallel()
	need(t, "sfdisk")
	system := mkext(t, debianTree(), "-t", "ext4")
	other := mkext(t, tree{"etc/os-release": "ID=fedora\nVERSION_ID=43\n"}, "-t", "ext4")
	data := mkext(t, tree{"home/user/x": "x"}, "-t", "ext4")
	const first, second, third = 2048, 36864, 71680 // sectors, 17 MiB apart
	three := fmt.Sprintf("start=%d,size=34000\nstart=%d,size=34000\nstart=%d,size=34000\n", first, second, third)
	tests := map[string]struct {
		table string
		parts map[int64]string
		want  string
	}{
		"GPT":                     {"label: gpt\n" + three, map[int64]string{third: system}, "debian 12"},
		"GPT with other data":     {"label: gpt\n" + three, map[int64]string{first: data, second: system}, "debian 12"},
		"GPT, the same twice":     {"label: gpt\n" + three, map[int64]string{first: system, second: system}, "debian 12"},
		"GPT, two systems":        {"label: gpt\n" + three, map[int64]string{first: system, second: other}, ""},
		"GPT, none":               {"label: gpt\n" + three, map[int64]string{first: data}, ""},
		"GPT, not in a partition": {"label: gpt\n" + strings.SplitAfter(three, "\n")[0], map[int64]string{third: system}, ""},
		"MBR":                     {"label: dos\n" + three, map[int64]string{second: system}, "debian 12"},
		"MBR, active":             {"label: dos\nstart=2048,size=34000,type=83,bootable\n", map[int64]string{first: system}, "debian 12"},
		"MBR, two systems":        {"label: dos\n" + three, map[int64]string{first: other, third: system}, ""},
		"MBR, logical": {
			"label: dos\nstart=2048,size=100\nstart=4096,size=110000,type=5\nstart=36864,size=34000\nstart=71680,size=34000\n",
			map[int64]string{third: system},
			"debian 12",
		},
		"MBR, first logical": {
			fmt.Sprintf("label: dos\nstart=4096,size=110000,type=f\nstart=%d,size=34000\n", second), map[int64]string{second: system}, "debian 12",
		},
		"too small a partition": {fmt.Sprintf("label: dos\nstart=%d,size=10\n", first), map[int64]string{first: system}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := sized(t, t.TempDir(), 64<<20)
			run(t, tt.table, "sfdisk", "-q", disk)
			for sector, part := range tt.parts {
				place(t, disk, part, sector)
			}
			if got := look(t, disk); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// writeGPT writes a table with one partition, whose last sector is last, and returns where its header is.
func writeGPT(disk []byte, sector, first, last int) []byte {
	disk[mbrTable+4], disk[510], disk[511] = 0xee, 0x55, 0xaa
	h, entries := disk[sector:sector+92], disk[2*sector:2*sector+128*128]
	copy(h, "EFI PART\x00\x00\x01\x00\x5c")
	le.PutUint64(h[72:], 2)
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	entries[0] = 1 // kind
	le.PutUint64(entries[32:], uint64(first))
	le.PutUint64(entries[40:], uint64(last))
	sealGPT(disk, sector)
	return h
}

// sealGPT makes the checksums right.
func sealGPT(disk []byte, sector int) {
	h := disk[sector : sector+92]
	le.PutUint32(h[88:], crc32.ChecksumIEEE(disk[2*sector:2*sector+128*128]))
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}

// TestLargeSectors reads a GPT of a disk whose sectors have 4096 bytes: everything is 8 times as far.
func TestLargeSectors(t *testing.T) {
	system, err := os.ReadFile(mkext(t, debianTree(), "-t", "ext4"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sector := range []int{512, 4096} {
		disk := make([]byte, 20<<20)
		copy(disk[256*sector:], system)
		writeGPT(disk, sector, 256, 255+len(system)/sector)
		if got := lookAt(t, disk); got != "debian 12" {
			t.Errorf("%d bytes: %q", sector, got)
		}
	}
}

// TestHostileGPT has good checksums over impossible numbers.
func TestHostileGPT(t *testing.T) {
	tests := map[string]func(h, entry []byte){
		"no entries":            func(h, _ []byte) { le.PutUint32(h[80:], 0) },
		"4 G entries":           func(h, _ []byte) { le.PutUint32(h[80:], 1<<32-1) },
		"entries of 4 GiB":      func(h, _ []byte) { le.PutUint32(h[84:], 1<<32-1) },
		"entries of nothing":    func(h, _ []byte) { le.PutUint32(h[84:], 0) },
		"table far away":        func(h, _ []byte) { le.PutUint64(h[72:], 1<<63) },
		"table at the end":      func(h, _ []byte) { le.PutUint64(h[72:], 2<<20/512-1) },
		"partition far away":    func(_, e []byte) { le.PutUint64(e[40:], 1<<63) },
		"partition everywhere":  func(_, e []byte) { le.PutUint64(e[32:], 0); le.PutUint64(e[40:], 1<<64-1) },
		"partition backwards":   func(_, e []byte) { le.PutUint64(e[32:], 100); le.PutUint64(e[40:], 99) },
		"partition behind disk": func(_, e []byte) { le.PutUint64(e[32:], 1<<50); le.PutUint64(e[40:], 1<<50+1) },
		"huge header":           func(h, _ []byte) { le.PutUint32(h[12:], 1<<32-1) },
		"no header":             func(h, _ []byte) { le.PutUint32(h[12:], 0) },
	}
	for name, change := range tests {
		disk := make([]byte, 2<<20)
		h := writeGPT(disk, 512, 100, 200)
		change(h, disk[1024:])
		sealGPT(disk, 512)
		_, err := volumes(viewOf(t, disk))
		if !errors.Is(err, errUnsure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileMBR has chains of logical partitions that do not end, and tables that are none.
func TestHostileMBR(t *testing.T) {
	record := func(disk []byte, at, link int) {
		b := disk[at*512:]
		b[510], b[511] = 0x55, 0xaa
		b[mbrTable+16+4] = 5
		le.PutUint32(b[mbrTable+16+8:], uint32(link))
		le.PutUint32(b[mbrTable+16+12:], 1)
	}
	tests := map[string]func(disk []byte){
		"loop to itself": func(d []byte) { record(d, 1, 0) },
		"loop back":      func(d []byte) { record(d, 1, 5); record(d, 6, 5) },
		"longer than allowed": func(d []byte) {
			for i := range 200 {
				record(d, 1+i, 1+i)
			}
		},
		"out of the partition": func(d []byte) { record(d, 1, 1<<32-1) },
		"no record":            func([]byte) {},
	}
	for name, change := range tests {
		disk := make([]byte, 1<<20)
		disk[510], disk[511] = 0x55, 0xaa
		disk[mbrTable+4] = 5
		le.PutUint32(disk[mbrTable+8:], 1)
		le.PutUint32(disk[mbrTable+12:], 1000)
		change(disk)
		if _, err := volumes(viewOf(t, disk)); !errors.Is(err, errUnsure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDamagedTables changes every byte of partition tables: nothing wrong comes out of it, and nearly always nothing.
func TestDamagedTables(t *testing.T) {
	need(t, "sfdisk")
	system := mkext(t, debianTree(), "-t", "ext4")
	for label, want := range map[string]int{"gpt": 128, "dos": 8} {
		disk := sized(t, t.TempDir(), 20<<20)
		run(t, "label: "+label+"\nstart=2048,size=34000\n", "sfdisk", "-q", disk)
		place(t, disk, system, 2048)
		data, err := os.ReadFile(disk)
		if err != nil {
			t.Fatal(err)
		}
		lost := 0
		for i := mbrTable; i < 34*512; i++ {
			data[i] ^= 0xff
			got := lookAt(t, data)
			if data[i] ^= 0xff; got != "" && got != "debian 12" {
				t.Fatalf("%s, byte %d: %q", label, i, got)
			}
			if got == "" {
				lost++
			}
		}
		if lost < want {
			t.Errorf("%s: only %d bytes matter", label, lost)
		}
	}
}
