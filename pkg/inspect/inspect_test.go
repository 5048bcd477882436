package inspect

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// noise returns n bytes that are nothing.
func noise(n int) []byte {
	out := make([]byte, 0, n+32)
	for i := uint64(0); len(out) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// look inspects data in pieces of a length.
func look(data []byte, piece int) Finding {
	var in Inspector
	for p := range slices.Chunk(data, piece) {
		_, _ = in.Write(p)
	}
	return in.Finish()
}

var good = []struct {
	name    string
	data    []byte
	format  Format
	virtual int64
}{
	{"nothing special", noise(200 << 10), Raw, 200 << 10},
	{"short", []byte("x"), Raw, 1},
	{"zeros", make([]byte, 1<<20), Raw, 1 << 20},
	{"qcow2 version 3", qcow2Image(10 << 30), QCOW2, 10 << 30},
	{"qcow2 version 2", patched(qcow2Image(1<<40), 4, be32(2)...), QCOW2, 1 << 40},
	{"qcow2 with snapshots", patched(patched(qcow2Image(1<<30), 60, be32(2)...), 64, be64(2<<16)...), QCOW2, 1 << 30},
	{"qcow2 compressed by zstd with extended L2, dirty", patched(patched(qcow2Image(1<<30), 72, be64(1|8|16)...), 104, 1), QCOW2, 1 << 30},
	{"vmdk", vmdkImage(descriptorText, false), VMDK, 4 << 20},
	{"vmdk with a footer", vmdkImage(descriptorText, true), VMDK, 4 << 20},
	{"vmdk monolithicSparse", vmdkImage(strings.Replace(descriptorText, "streamOptimized", "monolithicSparse", 1), false), VMDK, 4 << 20},
	{"dynamic vhd", vhdImage(vhdDynamic, vhdHeader(4, 0)), VHD, 8 << 20},
	{"fixed vhd", append(noise(1<<20), vhdFoot(vhdFixed, 1<<20)...), VHD, 1 << 20},
	{"fixed vhd of a disk with partitions", append(mbrDisk(0x83, 63), vhdFoot(vhdFixed, 100<<10)...), VHD, 100 << 10},
	{"vhdx", vhdxImage(vhdxItemsOfDisk, nil), VHDX, 8 << 20},
	{"vdi", vdiImage(vdiDynamic), VDI, 8 << 20},
	{"static vdi", vdiImage(vdiStatic), VDI, 8 << 20},
	{"iso", isoImage(), ISO, 100 << 10},
	{"iso for sticks", patched(mbrDisk(0x17, 0), 16*2048, append([]byte{1}, "CD001\x01"...)...), ISO, 100 << 10},
	{"iso for sticks with gpt", patched(gptDisk(), 16*2048, append([]byte{1}, "CD001\x01"...)...), ISO, 100 << 10},
	{"iso with a gpt that is not protected", patched(patched(gptDisk(), 454, 9), 16*2048, append([]byte{1}, "CD001\x01"...)...), ISO, 100 << 10},
	{"mbr", mbrDisk(0x83, 63), MBR, 100 << 10},
	{"gpt", gptDisk(), GPT, 100 << 10},
	{"gpt of a disk with large sectors", patched(patched(gptDisk(), 512, make([]byte, 512)...), 4096, gptDisk()[512:1024]...), GPT, 100 << 10},
	{"boot sector of a file system", patched(noise(1<<20), 510, 0x55, 0xaa), Raw, 1 << 20},
	{"luks 1", luks1Disk(), LUKS, 100 << 10},
	{"luks 2", luks2Disk(), LUKS, 100 << 10},
	{"tar", tarFile("etc/passwd"), Tar, 10240},
	{"ova", tarFile("machine.ovf"), OVA, 10240},
}

func TestRecognises(t *testing.T) {
	t.Parallel()
	for _, test := range good {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{1 << 22, 64 << 10, 64<<10 - 1, 1000} {
				f := look(test.data, piece)
				got, one := f.Format()
				if !one || got != test.format || f.VirtualSize() != test.virtual || f.Unsafe != "" || f.Size != int64(len(test.data)) {
					t.Fatalf("in pieces of %d: %+v, %s of %d bytes", piece, f, got, f.VirtualSize())
				}
			}
		})
	}
}

// Data must be what the image is said to be. A raw label on another format is how guests made services read files of
// theirs later (CVE-2024-40767, CVE-2015-1851).
func TestMatches(t *testing.T) {
	t.Parallel()
	accepts := map[string][]Format{
		"raw": {Raw, MBR, GPT, LUKS}, "qcow2": {QCOW2}, "vmdk": {VMDK}, "vhd": {VHD}, "vhdx": {VHDX}, "vdi": {VDI}, "iso": {ISO}, "gpt": {Raw, MBR, GPT, LUKS},
		"ami": {Raw, MBR}, "ari": {Raw, MBR}, "aki": {Raw, MBR}, "ploop": {Raw, MBR},
	}
	for disk, formats := range accepts {
		for _, test := range good {
			err := look(test.data, 1<<20).Check(disk)
			if want := slices.Contains(formats, test.format); want && err != nil || !want && fault.ReasonOf(err) != ReasonMismatch {
				t.Errorf("%s as %s: %v", test.name, disk, err)
			}
		}
	}
}

// What is refused after some of the data is refused at the end as well, and most things are known early.
func TestKnownSoon(t *testing.T) {
	t.Parallel()
	early := 0
	for _, disk := range []string{"raw", "qcow2", "vmdk", "vhd", "vhdx", "iso", "ami"} {
		for _, data := range everything() {
			var in Inspector
			refused := false
			for p := range slices.Chunk(data, 50<<10) {
				_, _ = in.Write(p)
				f, ok := in.Soon()
				if !ok && int(in.size) >= headSize {
					t.Fatal("nothing is known of the beginning")
				}
				refused = refused || ok && f.Check(disk) != nil
			}
			if refused {
				early++
			}
			if err := in.Finish().Check(disk); refused && err == nil {
				t.Fatalf("refused first, accepted then as %s: %.20q", disk, data)
			}
		}
	}
	if early < 100 {
		t.Errorf("only %d were refused early", early)
	}
}

func everything() [][]byte {
	var all [][]byte
	for _, g := range good {
		all = append(all, g.data)
	}
	for _, u := range unsafe {
		all = append(all, u.data)
	}
	return all
}

// However long the data is, little is kept of it.
func TestBoundedMemory(t *testing.T) {
	for _, data := range everything() {
		var in Inspector
		most := 0
		for p := range slices.Chunk(data, 10_000) {
			_, _ = in.Write(p)
			most = max(most, in.kept())
		}
		if most > 200<<10 {
			t.Fatalf("%d bytes are kept of %.20q", most, data)
		}
	}
	var in Inspector
	_, _ = in.Write(vhdxImage(vhdxItemsOfDisk, nil))
	block := noise(1 << 20)
	if n := testing.AllocsPerRun(100, func() { _, _ = in.Write(block) }); n > 0 {
		t.Errorf("%v allocations for bytes that nobody asked for", n)
	}
}

// kept returns how many bytes of data are held.
func (in *Inspector) kept() int {
	n := cap(in.head) + cap(in.tail)
	for _, c := range in.known {
		n += cap(c.got)
	}
	return n
}
