// Package inspect finds out what format the data of an image really has, and whether it is safe to hand to programs that
// read disk images, from the bytes as they pass: nothing is stored, nothing is read twice, and no other program is asked.
//
// Every format is looked for, not just the one that the image is said to have: data of two formats at once is how readers
// are made to disagree. What a header says is believed only as far as it is checked here.
//
// The layouts are those of the published specifications: QEMU's interop documents (qcow2, qed), Microsoft's of VHD and
// VHDX, VMware's Virtual Disk Format 5.0, ECMA-119 (ISO 9660), UEFI (GPT), LUKS on-disk formats 1 and 2, POSIX ustar.
package inspect

import (
	"fmt"
	"slices"
)

// Format is a format of data. Those of disks have the names that the Image API gives them.
type Format string

// The formats that are recognised. Data of none of them is raw.
const (
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VHD   Format = "vhd"
	VHDX  Format = "vhdx"
	VDI   Format = "vdi"
	QED   Format = "qed"
	ISO   Format = "iso"
	LUKS  Format = "luks"
	GPT   Format = "gpt"
	MBR   Format = "mbr"
	OVA   Format = "ova" // a tar archive that begins with a description of a virtual machine
	Tar   Format = "tar"
	Raw   Format = "raw"
)

const (
	headSize = 64 << 10 // bytes kept of the beginning; every format is recognised by them, or by the tail
	tailSize = 3 * sector
	mostWant = 64 << 10 // longest region that a format may ask for
	sector   = 512
)

// Inspector looks at data as it passes. It keeps a few hundred KiB at most. It is not safe for concurrent use. The zero
// value is ready.
type Inspector struct {
	size  int64
	head  []byte
	tail  []byte
	known []*candidate // formats that the beginning shows; set once headSeen
	// headSeen tells that the beginning has been looked at.
	headSeen bool
}

// candidate is a format that the data has, and what is known of it so far.
type candidate struct {
	format  Format
	virtual int64   // size of the disk in bytes
	fault   string  // why it is unsafe; empty while nothing speaks against it
	want    *region // what has to be looked at next; nil: nothing
	got     []byte  // what has come of it
	end     func(c *candidate, tail []byte, size int64)
}

// region is a piece of the data that a format wants to see. Regions of one format come in ascending order.
type region struct {
	at     int64
	length int
	seen   func(c *candidate, p []byte) *region // returns what is wanted next
}

// refuse notes that the data is unsafe. Nothing more is looked at then. It returns no region, for the use in seen.
func (c *candidate) refuse(format string, args ...any) *region {
	if c.fault == "" {
		c.fault = fmt.Sprintf(format, args...)
	}
	return nil
}

// Write looks at the next bytes. It never fails and keeps nothing of p.
func (in *Inspector) Write(p []byte) (int, error) {
	start := in.size
	in.size += int64(len(p))
	if !in.headSeen {
		n := min(len(p), headSize-len(in.head))
		in.head = append(in.head, p[:n]...)
	}
	in.keepTail(p)
	for _, c := range in.known {
		c.feed(start, p)
	}
	if !in.headSeen && len(in.head) == headSize {
		in.recognise()
		for _, c := range in.known {
			c.begin(in.head)
			rest := headSize - start // bytes of p that are in the head
			c.feed(headSize, p[rest:])
		}
	}
	return len(p), nil
}

func (in *Inspector) keepTail(p []byte) {
	if len(p) >= tailSize {
		in.tail = append(in.tail[:0], p[len(p)-tailSize:]...)
		return
	}
	if over := len(in.tail) + len(p) - tailSize; over > 0 {
		in.tail = in.tail[:copy(in.tail, in.tail[over:])]
	}
	in.tail = append(in.tail, p...)
}

// begin takes what the head has of the regions that are wanted.
func (c *candidate) begin(head []byte) {
	for c.want != nil && c.fault == "" {
		w := c.want
		if w.at < 0 || w.length <= 0 || w.length > mostWant {
			c.refuse("its header asks for too much")
			return
		}
		if w.at >= int64(len(head)) {
			return
		}
		c.got = append(c.got[:0], head[w.at:min(int64(len(head)), w.at+int64(w.length))]...)
		if len(c.got) < w.length {
			return
		}
		c.want = w.seen(c, c.got)
		c.got = c.got[:0]
	}
}

// feed takes what p, which begins at an offset that is not in the head, has of the regions that are wanted.
func (c *candidate) feed(at int64, p []byte) {
	for c.want != nil && c.fault == "" && len(p) > 0 {
		w := c.want
		next := w.at + int64(len(c.got))
		switch {
		case w.length <= 0 || w.length > mostWant:
			c.refuse("its header asks for too much")
			return
		case next < at:
			c.refuse("its parts are in an order that cannot be checked")
			return
		case next-at >= int64(len(p)):
			return
		}
		p, at = p[next-at:], next
		n := min(len(p), w.length-len(c.got))
		c.got = append(c.got, p[:n]...)
		p, at = p[n:], at+int64(n)
		if len(c.got) < w.length {
			return
		}
		c.want = w.seen(c, c.got)
		c.got = nil
	}
}

// recognise looks at the beginning of the data.
func (in *Inspector) recognise() {
	in.headSeen = true
	for _, d := range detectors {
		if c := d(in.head); c != nil {
			in.known = append(in.known, c)
		}
	}
}

// detectors recognise formats by their beginning, which may be shorter than headSize. They return nil for other data.
var detectors = []func(head []byte) *candidate{
	detectQCOW2, detectVMDK, detectVHD, detectVHDX, detectVDI, detectQED, detectISO, detectLUKS, detectPartitions, detectTar,
}

// Finish says what all bytes written are. The inspector must not be used after that.
func (in *Inspector) Finish() Finding {
	if !in.headSeen {
		in.recognise()
		for _, c := range in.known {
			c.begin(in.head)
		}
	}
	if c := detectFixedVHD(in.known, in.tail, in.size); c != nil {
		in.known = append(in.known, c)
	}
	for _, c := range in.known {
		if c.want != nil {
			c.refuse("the data ends before its header does")
		}
		if c.end != nil && c.fault == "" {
			c.end(c, in.tail, in.size)
		}
	}
	return in.finding(true)
}

// Soon returns what is known after the bytes written so far: what speaks against the data then still does at the end. ok is
// false while nothing is known at all.
func (in *Inspector) Soon() (f Finding, ok bool) { return in.finding(false), in.headSeen }

func (in *Inspector) finding(all bool) Finding {
	f := Finding{Size: in.size, partial: !all}
	// Optical disks that can be written to a stick have tables that are made to please many firmwares; they are read as ISO.
	iso := slices.ContainsFunc(in.known, func(c *candidate) bool { return c.format == ISO })
	for _, c := range in.known {
		f.Formats = append(f.Formats, c.format)
		if f.Unsafe == "" && c.fault != "" && !(iso && c.format == GPT) {
			f.Unsafe = fmt.Sprintf("%s: %s", c.format, c.fault)
		}
		f.virtual = max(f.virtual, c.virtual) // only one of them has a size, unless there are several disks in one
	}
	return f
}
