package imageapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// download answers with the data of an image or a part of it.
func (rd *Reads) download(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	img, c, err := rd.Find(r, "download_image")
	if err != nil {
		return err
	}
	if img.Status == Deactivated && !rd.admin(c) {
		return fault.New(fault.Denied, "DEACTIVATED", "The requested image has been deactivated. Image data download is forbidden.")
	}
	prefer, err := rd.preferred(r, c, img)
	if err != nil {
		return err
	}
	if len(img.Stores) == 0 {
		if hasLost(img) {
			return fault.New(fault.Unavailable, "NO_COPY", "no store has a copy of the image that can be read now; try again later")
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	part, whole, err := parseRange(r.Header, img.Size)
	if err != nil {
		return err
	}
	body, err := rd.Open.Open(r.Context(), img, prefer, part.offset, part.length)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return send(w, img, body, part, whole)
}

// hasLost reports whether an image that no store holds has data nevertheless: its copies are withdrawn while a delete is
// being decided, or were found damaged. To say that it has none would make clients take it for an empty one.
func hasLost(img *Image) bool {
	switch img.Status {
	case Active, Deactivated, PendingDelete:
		return img.Size > 0
	default:
		return false
	}
}

// preferred returns the stores that the caller wants the data from.
func (rd *Reads) preferred(r *http.Request, c *auth.Caller, img *Image) ([]string, error) {
	text := r.URL.Query().Get("prefer")
	if text == "" {
		return nil, nil
	}
	if !rd.Policy.Allowed(c, "download_from_store", img.Target(c)) {
		return nil, denied("download_from_store")
	}
	known := map[string]bool{}
	if rd.Stores != nil {
		for _, s := range rd.Stores() {
			known[s.ID] = true
		}
	}
	var prefer []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if rd.Stores != nil && !known[name] {
			return nil, fault.BadField("prefer", "there is no store called %q", clip(name))
		}
		if prefer = append(prefer, name); len(prefer) > maxPrefer {
			return nil, fault.BadField("prefer", "at most %d stores may be named", maxPrefer)
		}
	}
	return prefer, nil
}

// buffers are what data passes through on its way out.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// send copies the data to the client. The first piece is read before the answer begins, so that a store that fails at
// once is still an error answer. Afterwards an answer that cannot be completed is cut.
func send(w http.ResponseWriter, img *Image, body io.Reader, part byteRange, whole bool) error {
	scratch, ok := buffers.Get().(*[]byte)
	if !ok {
		return fault.New(fault.Internal, "", "the pool of buffers holds something else")
	}
	defer buffers.Put(scratch)
	buf := *scratch
	n, err := io.ReadFull(body, buf[:min(int64(len(buf)), part.length)])
	if err != nil {
		return early(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(part.length, 10))
	h.Set("Accept-Ranges", "bytes")
	code := http.StatusOK
	if img.Checksum != "" {
		h.Set("Content-MD5", img.Checksum) // of the whole image and in hex, as clients expect it
	}
	if !whole {
		code = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.offset, part.offset+part.length-1, img.Size))
	}
	w.WriteHeader(code)
	for left := part.length; ; {
		if _, err := w.Write(buf[:n]); err != nil {
			return fault.Wrap(err, fault.Cancelled, "CLIENT_GONE", "the client stopped reading")
		}
		if left -= int64(n); left == 0 {
			return nil
		}
		if n, err = io.ReadFull(body, buf[:min(int64(len(buf)), left)]); err != nil {
			return early(err)
		}
	}
}

// early classes the error of data that ended before its end.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Wrap(err, fault.Unavailable, "DATA_CUT", "the data ended early")
	}
	return err
}
