package scenarios

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// largeUploads come without a length, so that only counting helps.
func largeUploads(l *attacked) {
	for _, where := range []string{"file", "stage"} {
		id := l.queue("raw")
		l.user.Call(http.MethodPut, "/v2/images/"+id+"/"+where, endless(sizeLimit+1), "Content-Type", "application/octet-stream").
			Is(http.StatusRequestEntityTooLarge)
		l.remove(id)
	}
	file := filepath.Join(l.T.TempDir(), "large.raw")
	l.run("truncate", "-s", strconv.Itoa(sizeLimit+1), file)
	if out, errs, code := l.Ctl("image", "import", file, "--name", "large"); code == 0 || !strings.Contains(errs, "IMAGE_TOO_LARGE") {
		l.T.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

// endless is a reader without a length.
func endless(n int64) *limited { return &limited{left: n} }

type limited struct{ left int64 }

func (r *limited) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], bytes.Repeat([]byte("x"), len(p)))
	r.left -= int64(n)
	return n, nil
}

// largeDisks are small files.
func largeDisks(l *attacked) {
	for _, format := range []string{"qcow2", "vmdk", "vhdx", "vdi"} {
		l.refuses(format, l.created(format, "65M"), "limit")
	}
	l.refuses("vhd", l.created("vpc", "65M"), "limit")
	l.refuses("raw", l.bomb("gzip -9", "65M"), "limit")
}

// backingFile would show a file of the host below the empty parts of the disk.
func backingFile(l *attacked) {
	for _, name := range []string{l.victim, "../" + filepath.Base(l.victim), "json:{\"driver\":\"file\",\"filename\":\"" + l.victim + "\"}", "nbd://127.0.0.2:10809"} {
		l.refuses("qcow2", l.backed(name), "")
	}
	id := l.queue("qcow2")
	l.user.Call(http.MethodPut, "/v2/images/"+id+"/file", l.backed(l.victim), "Content-Type", "application/octet-stream").
		Is(http.StatusUnsupportedMediaType, http.StatusBadRequest)
	l.remove(id)
}

// hungryQCOW2 would keep a reader busy or make it allocate what its tables claim.
func hungryQCOW2(l *attacked) {
	good := l.made("qcow2")
	for name, data := range map[string][]byte{
		"a huge first table":       patched(good, 36, be32(1<<31)...),
		"a first table of 4 Gi":    patched(good, 36, be32(1<<32-1)...),
		"many snapshots":           patched(good, 60, be32(1<<31)...),
		"clusters of no size":      patched(good, 20, be32(0)...),
		"clusters beyond all size": patched(good, 20, be32(63)...),
		"a table behind the end":   patched(good, l1(good), be64(1<<50|1<<63)...),
		"a disk of 8 EiB":          patched(good, 24, be64(1<<63-512)...),
	} {
		began := time.Now()
		l.T.Log(name)
		l.refuses("qcow2", data, "")
		if took := time.Since(began); took > 2*time.Minute {
			l.T.Errorf("%s took %s", name, took)
		}
	}
}

// damagedDisks hold rubbish behind headers that are fine. They may be refused or become some disk of the right length, but
// end they must.
func damagedDisks(l *attacked) {
	noise, _ := lab.Data(4<<20, 4)
	for _, format := range []string{"qcow2", "vmdk", "vhd", "vhdx", "vdi"} {
		data := l.made(qemuName(format))
		for _, at := range []int{len(data) / 3, len(data) / 2} {
			bad := patched(data, at, noise[:min(300<<10, len(data)-at)]...)
			l.ends(format, bad)
		}
	}
	l.ends("qcow2", l.looped())
	good := l.made("qcow2")
	l.ends("qcow2", patched(good, l1(good), be64(1<<63)...)) // a table in the header
}

// ends imports data of which there may or may not be a disk.
func (l *attacked) ends(format string, data []byte) {
	l.T.Helper()
	id := l.queue(format)
	l.fetch(id, l.offer(data), []string{"central"}).Is(http.StatusAccepted)
	lab.Eventually(l.T, 2*time.Minute, format+" ends", func() error {
		img := l.user.Image(id)
		if img.Text("status") != "active" && !strings.HasPrefix(l.message(id), "failure: ") {
			return fmt.Errorf("%v; task: %s", img, l.message(id))
		}
		if size, ok := img["size"].(float64); ok && size > sizeLimit {
			l.T.Errorf("%s: a disk of %.0f bytes", format, size)
		}
		return nil
	})
	if text := l.message(id); leaks(text) {
		l.T.Errorf("%s: %s", format, text)
	}
	l.remove(id)
}

// flatVMDK names the files that hold its data.
func flatVMDK(l *attacked) {
	l.refuses("vmdk", flat(l.victim), "")
	l.refuses("raw", flat(l.victim), "")
	l.refuses("vmdk", l.redescribed(`createType="monolithicSparse"`, `createType="monolithicFlat"  `), "")
	l.refuses("vmdk", l.redescribed("parentCID=ffffffff", "parentCID=12345678"), "")
	l.refuses("vmdk", l.redescribed(`RW 32768 SPARSE "made"`, `RW 32768 FLAT "/x" 0  `), "")
}

// externalDataFile has its data in a file of the host.
func externalDataFile(l *attacked) {
	for _, name := range []string{l.victim, "/etc/passwd", "json:{\"driver\":\"file\"}"} {
		l.refuses("qcow2", l.dataFile(name), "")
		l.refuses("raw", l.dataFile(name), "")
	}
}

// saidToBeRaw would be found out by whoever opens it without saying its format. (Encrypted volumes are raw disks.)
func saidToBeRaw(l *attacked) {
	for _, format := range []string{"qcow2", "vmdk", "vpc", "vhdx", "vdi", "qed"} {
		l.refuses("raw", l.made(format), "")
	}
	l.refuses("raw", l.backed(l.victim), "")
	l.refuses("iso", l.made("qcow2"), "")
}

// weakSignatures are refused by the name of what is weak.
func weakSignatures(l *attacked) {
	for _, method := range []string{"MD5", "SHA-1"} {
		signed := lab.Object{
			"img_signature": "c2lnbmF0dXJl", "img_signature_hash_method": method, "img_signature_key_type": "RSA-PSS",
			"img_signature_certificate_uuid": "6e2a39ab-0d5b-4dea-8c84-24d31d5a9c21",
		}
		id := l.queue("raw", signed)
		data, _ := lab.Data(4<<20, 4)
		if answer := l.fetch(id, l.offer(data), []string{"central"}); answer.Code == http.StatusAccepted {
			l.fails(id, method)
		} else if answer.Is(http.StatusBadRequest); !strings.Contains(string(answer.Body), method) {
			l.T.Errorf("%s", answer.Body)
		}
		l.remove(id)
	}
}

// climbingArchives have members that would be written elsewhere by who unpacks them.
func climbingArchives(l *attacked) {
	mark := filepath.Join(l.dir, "climbed")
	data := archive("../../../../../.."+mark, mark, "../hub/staging/x", "disk.raw")
	for _, format := range []string{"raw", "qcow2", "vmdk"} {
		l.refuses(format, data, "")
	}
	// As an archive it is kept as it is, and nobody looks into it.
	id := l.queue("vmdk", lab.Object{"container_format": "ova"})
	l.fetch(id, l.offer(data), []string{"central"}).Is(http.StatusAccepted)
	l.done(id)
	if img := l.user.Image(id); img["size"] != float64(len(data)) || img.Text("container_format") != "ova" {
		l.T.Errorf("image: %v", img)
	}
	l.remove(id)
	if _, err := os.Stat(mark); err == nil {
		l.T.Error("a member was unpacked")
	}
}

// virtualSizes are known before an image can be started, and not believed when they are too large.
func virtualSizes(l *attacked) {
	for _, format := range []string{"qcow2", "vmdk", "vhdx", "vdi"} {
		data := l.created(format, "48M")
		id := l.queue(format)
		l.user.Call(http.MethodPut, "/v2/images/"+id+"/file", data, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
		if img := l.done(id); img["virtual_size"] != float64(48<<20) {
			l.T.Errorf("%s: virtual_size %v", format, img["virtual_size"])
		}
		l.remove(id)
		id = l.queue(format)
		l.user.Call(http.MethodPut, "/v2/images/"+id+"/file", l.created(format, "1T"), "Content-Type", "application/octet-stream").
			Is(http.StatusRequestEntityTooLarge)
		l.remove(id)
	}
}

// bombs are small until they are unpacked.
func bombs(l *attacked) {
	for _, program := range []string{"gzip -9", "xz -1", "zstd -19", "bzip2 -9"} {
		data := l.bomb(program, "256M")
		began := time.Now()
		l.refuses("raw", data, "limit")
		if took := time.Since(began); took > 2*time.Minute {
			l.T.Errorf("%s took %s", program, took)
		}
	}
	// What is packed twice is unpacked once.
	if got, want := l.converts("raw", l.bomb("gzip -9 | gzip -9", "1G")), sha256.Sum256(l.bomb("gzip -9", "1G")); got != hex.EncodeToString(want[:]) {
		l.T.Errorf("central holds %s, want %x", got, want)
	}
	l.refuses("qcow2", l.bomb("gzip -9", "30M"), "")
}

// sharedClusters are a disk of much data in a file of little.
func sharedClusters(l *attacked) {
	l.refuses("qcow2", l.shared(1<<18), "limit")
	data := patched(l.shared(1<<10), 24, be64(sizeLimit)...) // as much as is allowed
	l.converts("qcow2", data)
}

// wrongFormats never get as far as a converter.
func wrongFormats(l *attacked) {
	formats := []string{"vmdk", "vhd", "vhdx", "vdi", "qcow2"}
	noise, _ := lab.Data(4<<20, 4)
	for i, said := range formats {
		for _, is := range []string{formats[(i+1)%5], formats[(i+3)%5]} {
			l.refusesURL(said, l.offer(l.made(qemuName(is))), "")
		}
		l.refuses(said, noise, "")
	}
	if log := l.Log("hub"); strings.Contains(log, "qemu-img") && strings.Contains(log, "converter failed") {
		l.T.Error("a converter was started")
	}
}

// checksumFirst compares before anything reads the disk.
func checksumFirst(l *attacked) {
	for _, format := range []string{"vdi", "qcow2", "vmdk"} {
		id := l.queue(format)
		l.fetch(id, l.offer(l.made(format)), []string{"central", "dcn0"}, lab.Object{"checksum": "sha256:" + strings.Repeat("0", 64)}).Is(http.StatusAccepted)
		l.fails(id, "sha256")
		l.remove(id)
	}
}

// qemuName returns what qemu-img calls a disk format.
func qemuName(format string) string {
	if format == "vhd" {
		return "vpc"
	}
	return format
}
