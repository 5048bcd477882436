package inspect

import (
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Every unsafe image of the rows of published attacks, and those that are like them.
var unsafe = []struct {
	name, says string
	data       []byte
}{
	// A backing file exposed files of the host (CVE-2015-5163; Ironic: CVE-2024-44082).
	{"qcow2 backing file", "backing file", patched(patched(qcow2Image(1<<30), 8, be64(512)...), 512, []byte("/etc/passwd")...)},
	{"qcow2 backing file length only", "backing file", patched(qcow2Image(1<<30), 16, be32(11)...)},
	{"qcow2 version 2 backing file", "backing file", patched(patched(qcow2Image(1<<30), 4, be32(2)...), 8, be64(512)...)},
	// An external data file did the same (CVE-2024-32498).
	{"qcow2 data file", "another file", patched(qcow2Image(1<<30), 72, be64(4)...)},
	{"qcow2 data file by name only", "names a file", patched(qcow2Image(1<<30), 112, append(be32(0x44415441), be32(8)...)...)},
	{
		"qcow2 data file behind another extension", "names a file",
		patched(patched(qcow2Image(1<<30), 112, append(be32(0x6803f857), be32(3)...)...), 128, append(be32(0x44415441), be32(8)...)...),
	},
	{"qcow2 unknown feature", "unknown", patched(qcow2Image(1<<30), 72, be64(1<<5)...)},
	{"qcow2 last unknown feature", "unknown", patched(qcow2Image(1<<30), 72, be64(1<<63)...)},
	{"qcow2 header too short", "header", patched(qcow2Image(1<<30), 100, be32(72)...)},
	{"qcow2 header too long", "header", patched(qcow2Image(1<<30), 100, be32(1<<17)...)},
	{"qcow2 header of odd length", "header", patched(qcow2Image(1<<30), 100, be32(107)...)},
	{"qcow2 extension too long", "extension", patched(qcow2Image(1<<30), 112, append(be32(1), be32(1<<31)...)...)},
	{"qcow2 extension of the greatest length", "extension", patched(qcow2Image(1<<30), 112, append(be32(1), be32(1<<32-1)...)...)},
	{"qcow2 extensions without end", "no end", qcow2Image(1 << 30)[:112]},
	{"qcow2 compression", "compression", patched(patched(qcow2Image(1<<30), 72, be64(8)...), 104, 2)},
	{"qcow2 version 1", "version", patched(qcow2Image(1<<30), 4, be32(1)...)},
	{"qcow2 version 4", "version", patched(qcow2Image(1<<30), 4, be32(4)...)},
	{"qcow2 clusters too small", "cluster size", patched(qcow2Image(1<<30), 20, be32(8)...)},
	{"qcow2 clusters too large", "cluster size", patched(qcow2Image(1<<30), 20, be32(22)...)},
	{"qcow2 clusters of shifted-out size", "cluster size", patched(qcow2Image(1<<30), 20, be32(64)...)},
	{"qcow2 negative size", "size", qcow2Image(1 << 63)},
	{"qcow2 huge L1", "L1", patched(qcow2Image(1<<30), 36, be32(1<<31)...)},
	{"qcow2 too many snapshots", "snapshots", patched(qcow2Image(1<<30), 60, be32(1<<20)...)},
	{"qcow2 tables inside clusters", "tables", patched(qcow2Image(1<<30), 40, be64(12345)...)},
	{"qcow2 reference counts", "counts", patched(qcow2Image(1<<30), 96, be32(7)...)},
	{"qcow2 unknown encryption", "encryption", patched(qcow2Image(1<<30), 32, be32(3)...)},
	{"qcow2 cut", "ends before", qcow2Image(1 << 30)[:80]},
	{"qcow2 magic only", "ends before", []byte("QFI\xfb")},

	// A descriptor named a file of the host (CVE-2022-47951).
	{"vmdk monolithicFlat", "not accepted", vmdkImage(strings.NewReplacer("streamOptimized", "monolithicFlat").Replace(descriptorText), false)},
	{
		"vmdk flat descriptor", "other files",
		[]byte(strings.NewReplacer("streamOptimized", "monolithicFlat", "SPARSE \"disk.vmdk\"", "FLAT \"/etc/passwd\" 0").Replace(descriptorText)),
	},
	{"vmdk descriptor after spaces", "other files", []byte("  \n" + descriptorText)},
	{"vmdk descriptor after another comment", "other files", []byte("# x\r\n\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n")},
	{"vmdk descriptor that begins with its type", "other files", []byte("CreateType = \"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n")},
	{"vmdk lines of an old Mac", "not text", vmdkImage(strings.Replace(descriptorText, "version=1", "version=1\rRW 1 FLAT \"/etc/passwd\" 0", 1), false)},
	{"vmdk flat extent", "another file", vmdkImage(strings.Replace(descriptorText, `SPARSE "disk.vmdk"`, `FLAT "disk.vmdk" 0`, 1), false)},
	{"vmdk path", "path", vmdkImage(strings.Replace(descriptorText, `"disk.vmdk"`, `"/etc/passwd"`, 1), false)},
	{"vmdk path of the parent directory", "path", vmdkImage(strings.Replace(descriptorText, `"disk.vmdk"`, `"../disk.vmdk"`, 1), false)},
	{"vmdk path of Windows", "path", vmdkImage(strings.Replace(descriptorText, `"disk.vmdk"`, `"c:\disk.vmdk"`, 1), false)},
	{"vmdk two extents", "one extent", vmdkImage(strings.Replace(descriptorText, "# The Disk", "RW 8192 SPARSE \"b.vmdk\"\n# The Disk", 1), false)},
	{"vmdk two extents, one with a tab", "extent", vmdkImage(strings.Replace(descriptorText, "# The Disk", "RW\t8192 FLAT \"b.vmdk\"\n# The Disk", 1), false)},
	{"vmdk no extent", "one extent", vmdkImage(strings.Replace(descriptorText, `RW 8192 SPARSE "disk.vmdk"`, "", 1), false)},
	{"vmdk two types", "once", vmdkImage(strings.Replace(descriptorText, "CID=", "createType=\"monolithicSparse\"\nCID=", 1), false)},
	{"vmdk type in a comment", "comment", vmdkImage(strings.Replace(descriptorText, "version=1", "# createType=\"monolithicFlat\"", 1), false)},
	{"vmdk type in a value", "inside", vmdkImage(strings.Replace(descriptorText, "version=1", "ddb.x = createType=\"monolithicFlat\"", 1), false)},
	{"vmdk no type", "once", vmdkImage(strings.Replace(descriptorText, "createType=\"streamOptimized\"", "", 1), false)},
	{"vmdk parent", "parent", vmdkImage(strings.Replace(descriptorText, "parentCID=ffffffff", "parentCID=1234abcd", 1), false)},
	{"vmdk parent by name", "parent", vmdkImage(strings.Replace(descriptorText, "parentCID=", "parentFileNameHint=\"/etc/passwd\"\nparentCID=", 1), false)},
	{"vmdk rubbish in the descriptor", "not understood", vmdkImage(strings.Replace(descriptorText, "version=1", "rubbish", 1), false)},
	{"vmdk second descriptor", "behind its end", vmdkImage(descriptorText+"\x00"+descriptorText, false)},
	{"vmdk no descriptor", "several files", patched(vmdkImage(descriptorText, false), 28, le64(0)...)},
	{"vmdk descriptor far away", "too far", patched(vmdkImage(descriptorText, false), 28, le64(1<<40)...)},
	{"vmdk descriptor too long", "too long", patched(vmdkImage(descriptorText, false), 36, le64(1<<40)...)},
	{"vmdk descriptor of zeros", "not text", vmdkImage("", false)},
	{"vmdk no size", "size", patched(vmdkImage(descriptorText, false), 12, le64(0)...)},
	{"vmdk size beyond", "size", patched(vmdkImage(descriptorText, false), 12, le64(1<<60)...)},
	{"vmdk grain", "grain", patched(vmdkImage(descriptorText, false), 20, le64(3)...)},
	{"vmdk version", "version", patched(vmdkImage(descriptorText, false), 4, le32(4)...)},
	{"vmdk of ESX", "ESX", patched(vmdkImage(descriptorText, false), 0, []byte("COWD")...)},
	{"vmdk without its footer", "footer", patched(vmdkImage(descriptorText, false), 56, le64(vmdkAtEnd)...)},
	{"vmdk footer of another size", "contradicts", patched(vmdkImage(descriptorText, true), 257*sector+12, le64(1<<30)...)},
	{"vmdk footer of another descriptor", "contradicts", patched(vmdkImage(descriptorText, true), 257*sector+28, le64(5)...)},
	{"vmdk footer without a directory", "where its data", patched(vmdkImage(descriptorText, true), 257*sector+56, le64(vmdkAtEnd)...)},
	{"vmdk something behind the footer", "footer", append(vmdkImage(descriptorText, true), noise(sector)...)},
	{"vmdk cut", "ends before", vmdkImage(descriptorText, false)[:sector+100]},

	{"qed", "not accepted", patched(make([]byte, 1<<20), 0, []byte("QED\x00")...)},

	{"vhd with a parent", "parent", vhdImage(vhdDifferencing, vhdHeader(4, 0))},
	{"vhd with a parent in the header only", "parent", vhdImage(vhdDynamic, vhdHeader(4, 64, 0, 'c'))},
	{"vhd with a parent locator", "parent", vhdImage(vhdDynamic, vhdHeader(4, 576, []byte("W2ku")...))},
	{"vhd type", "type", vhdImage(7, vhdHeader(4, 0))},
	{"vhd footer damaged", "damaged", patched(vhdImage(vhdDynamic, vhdHeader(4, 0)), 50, 1)},
	{"vhd header damaged", "damaged", patched(vhdImage(vhdDynamic, vhdHeader(4, 0)), sector+30, 1)},
	{"vhd header missing", "missing", vhdImage(vhdDynamic, make([]byte, vhdDynamicSize))},
	{"vhd table too small", "table", vhdImage(vhdDynamic, vhdHeader(3, 0))},
	{"vhd block size", "block size", vhdImage(vhdDynamic, vhdHeader(4, 32, be32(3)...))},
	{"vhd cut", "ends before", vhdImage(vhdDynamic, vhdHeader(4, 0))[:sector+20]},
	{"fixed vhd longer than its data", "cut off", append(noise(1<<20), vhdFoot(vhdFixed, 1<<30)...)},

	{"vhdx with a parent", "parent", vhdxImage(vhdxItemsOfDisk, func(p []byte) { p[2<<20+64<<10+4] = 2 })},
	{"vhdx with a parent locator", "parent", vhdxImage(append(slices.Clone(vhdxItemsOfDisk), item{vhdxParent, 65 << 10, 100, 0}), nil)},
	{"vhdx unknown item", "unknown", vhdxImage(append(slices.Clone(vhdxItemsOfDisk), item{guid{1}, 65 << 10, 100, 4}), nil)},
	{"vhdx item twice", "twice", vhdxImage(append(slices.Clone(vhdxItemsOfDisk), vhdxItemsOfDisk[0]), nil)},
	{"vhdx no size", "damaged", vhdxImage(vhdxItemsOfDisk[:1], nil)},
	{"vhdx items in one place", "damaged", vhdxImage([]item{{vhdxFile, 64 << 10, 8, 4}, {vhdxSize, 64 << 10, 8, 6}}, nil)},
	{"vhdx item inside the table", "damaged", vhdxImage([]item{{vhdxFile, 32, 8, 4}, vhdxItemsOfDisk[1]}, nil)},
	{"vhdx item of another length", "damaged", vhdxImage([]item{{vhdxFile, 64 << 10, 1 << 30, 4}, vhdxItemsOfDisk[1]}, nil)},
	{"vhdx size", "size", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint64(p[2<<20+64<<10+8:], 1<<63) })},
	{"vhdx block size", "block size", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint32(p[2<<20+64<<10:], 5) })},
	{"vhdx unknown region", "unknown", vhdxImage(vhdxItemsOfDisk, func(p []byte) { p[vhdxTable1+16] = 1 })},
	{"vhdx metadata in the header", "where it can", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint64(p[vhdxTable1+64:], 4096) })},
	{"vhdx metadata beyond", "ends before", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint64(p[vhdxTable1+64:], 1<<62) })},
	{"vhdx metadata at a negative place", "where it can", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint64(p[vhdxTable1+64:], 1<<63) })},
	{"vhdx too many regions", "damaged", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint32(p[vhdxTable1+8:], 3000) })},
	{"vhdx no regions", "no metadata", vhdxImage(vhdxItemsOfDisk, func(p []byte) { le.PutUint32(p[vhdxTable1+8:], 1) })},
	{"vhdx two sets of metadata", "two sets", vhdxImage(vhdxItemsOfDisk, func(p []byte) { copy(p[vhdxTable1+16:], vhdxMetadata[:]) })},
	{"vhdx region tables differ", "differ", patched(vhdxImage(vhdxItemsOfDisk, nil), vhdxTable2+100, 1)},
	{"vhdx region table damaged", "damaged", patched(vhdxImage(vhdxItemsOfDisk, nil), vhdxTable1+100, 1)},
	{"vhdx metadata table damaged", "damaged", patched(vhdxImage(vhdxItemsOfDisk, nil), 2<<20, 'M')},
	{"vhdx cut", "ends before", vhdxImage(vhdxItemsOfDisk, nil)[:300<<10]},

	{"vdi differencing", "another disk", vdiImage(4)},
	{"vdi undo", "another disk", vdiImage(3)},
	{"vdi with a parent", "another disk", patched(vdiImage(vdiDynamic), 0x1b8, 1)},
	{"vdi with a link", "another disk", patched(vdiImage(vdiDynamic), 0x1a8, 1)},
	{"vdi version", "version", patched(vdiImage(vdiDynamic), 0x44, 2)},
	{"vdi table too small", "table", patched(vdiImage(vdiDynamic), 0x170, le64(1<<50)...)},
	{"vdi size", "size", patched(vdiImage(vdiDynamic), 0x170, le64(1<<63)...)},
	{"vdi block size", "block size", patched(vdiImage(vdiDynamic), 0x178, le32(7)...)},
	{"vdi sector size", "sectors", patched(vdiImage(vdiDynamic), 0x168, le32(4096)...)},
	{"vdi tables", "tables", patched(vdiImage(vdiDynamic), 0x154, le32(13)...)},
	{"vdi cut", "ends before", vdiImage(vdiDynamic)[:100]},

	{"luks version", "version", patched(luks1Disk(), 6, 0, 3)},
	{"luks 1 without a passphrase", "passphrase", patched(luks1Disk(), 208, 0, 0, 0, 0)},
	{"luks 1 detached", "another file", patched(luks1Disk(), 104, 0, 0, 0, 0)},
	{"luks 1 key in the data", "damaged", patched(luks1Disk(), 248, be32(1000)...)},
	{"luks 1 key length", "key", patched(luks1Disk(), 108, be32(1<<20)...)},
	{"luks 2 header size", "damaged", patched(luks2Disk(), 8, be64(1)...)},
	{"luks 2 second header first", "damaged", patched(luks2Disk(), 256, be64(16384)...)},
	{"luks cut", "ends before", luks1Disk()[:100]},

	{"gpt with a damaged mbr", "damaged", patched(gptDisk(), 462, 0x12)},
	{"gpt that is not protected", "protect", patched(gptDisk(), 454, 9)},
	{"gpt protected twice", "protect", patched(gptDisk(), 466, 0xee)},
	{"gpt with a wrong header size", "header", patched(gptDisk(), 512+12, le32(5000)...)},
	{"gpt with entries of a wrong size", "header", patched(gptDisk(), 512+84, le32(100)...)},
	{"gpt with too many entries", "header", patched(gptDisk(), 512+80, le32(1<<30)...)},

	// Data that is two things at once.
	{"qcow2 and iso", "read as", patched(qcow2Image(1<<30), 16*2048, append([]byte{1}, "CD001\x01"...)...)},
	{"tar and iso", "read as", patched(tarFile("a"), 16*2048, append([]byte{1}, "CD001\x01"...)...)},
	{"luks and iso", "read as", patched(luks1Disk(), 16*2048, append([]byte{1}, "CD001\x01"...)...)},
	{"qcow2 with a footer of a fixed vhd", "read as", append(qcow2Image(1<<30), vhdFoot(vhdFixed, 4<<16)...)},
	{"qcow2 and mbr", "read as", patched(qcow2Image(1<<30), 446, mbrDisk(0x83, 63)[446:512]...)},
	{"iso with a footer of a fixed vhd", "read as", append(isoImage(), vhdFoot(vhdFixed, 100<<10)...)},
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range unsafe {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{1 << 22, 64<<10 + 1, 999} {
				f := look(test.data, piece)
				for _, disk := range []string{"raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "ami", "ploop"} {
					err := f.Check(disk)
					if fault.ReasonOf(err) != ReasonUnsafe || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.says) {
						t.Fatalf("in pieces of %d as %s: %v", piece, disk, err)
					}
					if strings.Contains(err.Error(), "passwd") {
						t.Fatalf("the message repeats what the data says: %v", err)
					}
				}
			}
		})
	}
}

// The published attacks of which data is a part, by name.
func TestAdvisories(t *testing.T) {
	t.Parallel()
	backed := patched(patched(qcow2Image(1<<30), 8, append(be64(512), be32(11)...)...), 512, []byte("/etc/passwd")...)
	flat := strings.NewReplacer("streamOptimized", "monolithicFlat", "SPARSE \"disk.vmdk\"", "FLAT \"/etc/passwd\" 0").Replace(descriptorText)
	for _, test := range []struct {
		name, disk, reason string
		data               []byte
	}{
		{"CVE-2011-4596 archive with a path in bare", "raw", ReasonMismatch, tarFile("../../../etc/passwd")},
		{"CVE-2011-4596 archive with a path as kernel", "aki", ReasonMismatch, tarFile("/etc/passwd")},
		{"CVE-2015-5163 backing file", "qcow2", ReasonUnsafe, backed},
		{"CVE-2015-1851 qcow2 with a backing file as raw", "raw", ReasonUnsafe, backed},
		{"CVE-2022-47951 flat vmdk", "vmdk", ReasonUnsafe, vmdkImage(flat, false)},
		{"CVE-2022-47951 flat descriptor", "vmdk", ReasonUnsafe, []byte(flat)},
		{"CVE-2022-47951 flat descriptor as raw", "raw", ReasonUnsafe, []byte(flat)},
		{"CVE-2024-32498 data file", "qcow2", ReasonUnsafe, patched(qcow2Image(1<<30), 72, be64(4)...)},
		{"CVE-2024-32498 data file as raw", "raw", ReasonUnsafe, patched(qcow2Image(1<<30), 72, be64(4)...)},
		{"CVE-2024-40767 qcow2 as raw", "raw", ReasonMismatch, qcow2Image(1 << 30)},
		{"CVE-2024-40767 vmdk as raw", "raw", ReasonMismatch, vmdkImage(descriptorText, true)},
		{"CVE-2024-40767 vmdk as iso", "iso", ReasonMismatch, vmdkImage(descriptorText, true)},
		{"CVE-2024-44082 qcow2 as iso", "iso", ReasonMismatch, qcow2Image(1 << 30)},
		{"CVE-2024-44082 qed as qcow2", "qcow2", ReasonUnsafe, patched(make([]byte, 1<<20), 0, []byte("QED\x00")...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := look(test.data, 1<<20).Check(test.disk)
			if fault.ReasonOf(err) != test.reason || strings.Contains(err.Error(), "passwd") {
				t.Errorf("got %v", err)
			}
		})
	}
}
