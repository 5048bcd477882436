package scenarios

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// secretWord is in no image that users may read: it stands for what attacks are after.
const secretWord = "the secret of the host"

// patched returns a copy of data with bytes at an offset replaced.
func patched(data []byte, at int, with ...byte) []byte {
	out := bytes.Clone(data)
	copy(out[at:], with)
	return out
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// made returns a disk of 16 MiB with 1 MiB of data in a format of qemu-img.
func (l *attacked) made(format string, options ...string) []byte {
	l.T.Helper()
	file := filepath.Join(l.T.TempDir(), "made")
	l.run("qemu-img", append(append([]string{"convert", "-f", "raw", "-O", format}, options...), l.small, file)...)
	data, err := os.ReadFile(file)
	l.must(err)
	return data
}

// created returns an empty disk in a format of qemu-img.
func (l *attacked) created(format, size string, options ...string) []byte {
	l.T.Helper()
	file := filepath.Join(l.T.TempDir(), "created")
	l.run("qemu-img", append(append([]string{"create", "-q", "-f", format}, options...), file, size)...)
	data, err := os.ReadFile(file)
	l.must(err)
	return data
}

// backed returns a qcow2 whose header names another file as the one below it.
func (l *attacked) backed(name string) []byte {
	data := patched(l.made("qcow2"), 8, append(be64(1024), be32(uint32(len(name)))...)...)
	return patched(data, 1024, []byte(name)...)
}

// dataFile returns a qcow2 whose data is in another file.
func (l *attacked) dataFile(name string) []byte {
	data := l.made("qcow2")
	features := binary.BigEndian.Uint64(data[72:]) | 4
	data = patched(data, 72, be64(features)...)
	header := int(binary.BigEndian.Uint32(data[100:]))
	extension := append(be32(0x44415441), be32(uint32(len(name)))...)
	return patched(data, header, append(append(extension, name...), make([]byte, 16-len(name)%8)...)...)
}

// l1 returns where the first table of a qcow2 is.
func l1(data []byte) int { return int(binary.BigEndian.Uint64(data[40:])) }

// looped returns a qcow2 whose tables of the second level are the one of the first: to read it is to read tables for ever.
func (l *attacked) looped() []byte {
	data := l.made("qcow2")
	return patched(data, l1(data), be64(uint64(l1(data))|1<<63)...)
}

// shared returns a qcow2 in which every cluster of a disk of 16 GiB is the same compressed cluster, so that a file of less
// than a MiB is a disk of data.
func (l *attacked) shared(clusters int) []byte {
	data := l.created("qcow2", "16G")
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is one
	_, _ = w.Write(bytes.Repeat([]byte("bomb"), 16<<10))
	_ = w.Close()
	deflated := packed.Bytes()[10 : packed.Len()-8] // without the header and trailer of gzip
	at := (len(data) + 65535) &^ 65535
	table := at + 65536
	out := append(data, make([]byte, table+65536-len(data))...)
	copy(out[at:], deflated)
	for i := range min(clusters, 8192) { // one table of the second level, for every entry of the first
		sectors := uint64(len(deflated)+511) / 512
		copy(out[table+8*i:], be64(1<<62|(sectors-1)<<54|uint64(at)))
	}
	entries := int(binary.BigEndian.Uint32(out[36:]))
	for i := range min(entries, (clusters+8191)/8192) {
		copy(out[l1(out)+8*i:], be64(uint64(table)|1<<63))
	}
	return out
}

// flat returns the text of a VMDK whose data is in a file of the host.
func flat(name string) []byte {
	return []byte("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n" +
		"# Extent description\nRW 8 FLAT \"" + name + "\" 0\n\n# The Disk Data Base\n#DDB\nddb.virtualHWVersion = \"4\"\n")
}

// redescribed returns a sparse VMDK with words of its descriptor replaced by others of the same length.
func (l *attacked) redescribed(was, is string) []byte {
	l.T.Helper()
	data := l.made("vmdk", "-o", "subformat=monolithicSparse")
	if len(was) != len(is) || !bytes.Contains(data, []byte(was)) {
		l.T.Fatalf("%q is not in the descriptor, or %q has another length", was, is)
	}
	return bytes.Replace(data, []byte(was), []byte(is), 1)
}

// archive returns a tar whose members climb out of every directory.
func archive(names ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 4}) // a buffer takes everything
		_, _ = w.Write([]byte("evil"))
	}
	_ = w.WriteHeader(&tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	_ = w.Close()
	return b.Bytes()
}

// bomb returns size bytes of nothing, compressed by a program.
func (l *attacked) bomb(program, size string) []byte {
	l.T.Helper()
	out, err := exec.CommandContext(l.T.Context(), "bash", "-c", "head -c "+size+" /dev/zero | "+program).Output()
	l.must(err)
	return out
}

// leaks reports whether the text tells what users must not learn.
func leaks(text string) bool {
	for _, word := range []string{secretWord, "passwd", "/tmp", "/hub/", "127.0.0.2", "169.254", "goroutine"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
