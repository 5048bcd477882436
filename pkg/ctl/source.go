package ctl

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// source is where the data of an import comes from: a URL that the hub reads, or bytes that this program sends.
type source struct {
	name string    // as the user gave it
	uri  string    // http or https; else empty
	data io.Reader // nil for a URL
	size int64     // 0 when unknown
	file *os.File  // to close; nil for a URL and standard input
	ends bool      // data has been read to its end
}

// openSource opens FILE, URL or - and makes sure that there is something to read, before anything is created at the hub.
// The caller closes it.
func (c *cli) openSource(arg, diskFormat string) (*source, error) {
	if strings.Contains(arg, "://") {
		return openURL(arg)
	}
	s := &source{name: arg}
	r := c.env.Stdin
	if arg != "-" {
		f, err := os.Open(arg)
		if err != nil {
			return nil, unreadable(arg, err)
		}
		s.file, r = f, f
	}
	var err error
	if f, ok := r.(*os.File); ok {
		s.size, err = length(f)
	}
	if err == nil {
		err = s.start(r, diskFormat)
	}
	if err != nil {
		_ = s.close()
		return nil, unreadable(arg, err)
	}
	return s, nil
}

func openURL(arg string) (*source, error) {
	u, err := url.Parse(arg)
	if err != nil || u.Host == "" {
		return nil, fault.BadField("URL", "%q is not a URL", arg)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.BadField("URL", "%s is not supported; use http or https", u.Scheme)
	}
	return &source{name: arg, uri: arg}, nil
}

var (
	errEmpty     = errors.New("it is empty")
	errDirectory = errors.New("it is a directory")
)

// length returns how many bytes are left to read in a file or block device, 0 for streams. An empty file is an error.
func length(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return 0, errDirectory
	case mode&fs.ModeCharDevice != 0, !mode.IsRegular() && mode&fs.ModeDevice == 0:
		return 0, nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	if end <= at {
		return 0, errEmpty
	}
	return end - at, nil
}

// start reads the first bytes: they show whether the source can be read, is empty, or is not what the user thinks.
func (s *source) start(r io.Reader, diskFormat string) error {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if len(head) == 0 {
		if errors.Is(err, io.EOF) {
			return errEmpty
		}
		return err
	}
	if diskFormat == "raw" && bytes.Equal(head, []byte("QFI\xfb")) {
		return errors.New("it is a qcow2 image; convert it with 'qemu-img convert -O raw', or say --disk-format qcow2 and lose " +
			"copy-on-write boot")
	}
	s.data = &endReader{b, &s.ends}
	return nil
}

// prove makes the end of data an error that does not hash to what was expected, before the hub is told that it is the end.
func (s *source) prove(sum image.Checksum) {
	if h := sum.Hash(); h != nil && s.data != nil {
		s.data = &proofReader{s.data, h, sum}
	}
}

// proofReader hashes what is read.
type proofReader struct {
	io.Reader
	hash hash.Hash
	sum  image.Checksum
}

// Read reads.
func (r *proofReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	_, _ = r.hash.Write(b[:n])
	if errors.Is(err, io.EOF) {
		if wrong := r.sum.Check(hex.EncodeToString(r.hash.Sum(nil))); wrong != nil {
			return n, wrong
		}
	}
	return n, err
}

func (s *source) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// unreadable names the source and says what is wrong with it, without repeating its name.
func unreadable(arg string, err error) error {
	if arg == "-" {
		arg = "standard input"
	}
	text := err.Error()
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		text = path.Err.Error()
	}
	return fault.New(fault.Invalid, "SOURCE_UNREADABLE", "cannot import %s: %s", arg, text)
}

// endReader notes that the end has been reached.
type endReader struct {
	io.Reader
	ended *bool
}

// Read reads.
func (r *endReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		*r.ended = true
	}
	return n, err
}
