package imageapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// stored returns an image with ten bytes of data.
func stored(n int, change ...func(*Image)) *Image {
	return sample(n, append([]func(*Image){func(i *Image) {
		i.Size, i.Checksum, i.Stores = 10, "781e5e245d69b566979b86e28d23f2c7", []string{"central"}
	}}, change...)...)
}

func TestRanges(t *testing.T) {
	b := newBench(t, stored(1))
	for _, c := range []struct {
		header, value string
		code          int
		body, part    string
	}{
		{"", "", 200, "0123456789", ""},
		{"Range", "bytes=0-0", 206, "0", "bytes 0-0/10"},
		{"Range", "bytes=2-4", 206, "234", "bytes 2-4/10"},
		{"Range", "bytes=7-", 206, "789", "bytes 7-9/10"},
		{"Range", "bytes=7-100", 206, "789", "bytes 7-9/10"},
		{"Range", "bytes=7-99999999999999999999", 206, "789", "bytes 7-9/10"},
		{"Range", "bytes=-3", 206, "789", "bytes 7-9/10"},
		{"Range", "bytes=-30", 206, "0123456789", "bytes 0-9/10"},
		{"Range", "BYTES = 1 - 2 ", 206, "12", "bytes 1-2/10"},
		{"Range", "bytes=0-1,3-4", 400, "", ""},
		{"Range", "bytes=10-", 416, "", ""},
		{"Range", "bytes=99999999999999999999-", 416, "", ""},
		{"Range", "bytes=4-2", 416, "", ""},
		{"Range", "bytes=-0", 416, "", ""},
		{"Range", "bytes=-", 416, "", ""},
		{"Range", "bytes=a-b", 416, "", ""},
		{"Range", "bytes=+1-2", 416, "", ""},
		{"Range", "bytes", 416, "", ""},
		{"Range", "lines=0-1", 416, "", ""},
		{"Content-Range", "bytes 2-4/10", 206, "234", "bytes 2-4/10"},
		{"Content-Range", "bytes 2-4/*", 206, "234", "bytes 2-4/10"},
		{"Content-Range", "bytes 8-40/*", 206, "89", "bytes 8-9/10"},
		{"Content-Range", "bytes */10", 416, "", ""},
		{"Content-Range", "bytes 12-14/*", 416, "", ""},
		{"Content-Range", "bytes 2-/10", 416, "", ""},
		{"Content-Range", "bytes 2-4", 416, "", ""},
		{"Content-Range", "2-4/10", 416, "", ""},
		{"Content-Range", "bytes 2-4/x", 416, "", ""},
	} {
		headers := []string{c.header, c.value}
		if c.header == "" {
			headers = nil
		}
		a := b.get("/v2/images/"+string(id(1))+"/file", "beta", headers...)
		if a.Code != c.code {
			t.Errorf("%s: %s: got %d", c.header, c.value, a.Code)
			continue
		}
		switch c.code {
		case 200, 206:
			a.header("Content-Type", "application/octet-stream").header("Content-Range", c.part).header("Content-Md5", "781e5e245d69b566979b86e28d23f2c7")
			if a.Body.String() != c.body || a.Header().Get("Content-Length") != strconv.Itoa(len(c.body)) {
				t.Errorf("%s: %s: got %q, %s bytes", c.header, c.value, a.Body, a.Header().Get("Content-Length"))
			}
		case 416:
			a.header("Content-Range", "bytes */10").header("Content-Length", "")
		}
	}
	if b.stick.closed == 0 {
		t.Error("the data was not closed")
	}
}

func TestDownload(t *testing.T) {
	b := newBench(
		t, stored(1), stored(2, func(i *Image) { i.Status = Deactivated }), sample(3, func(i *Image) { i.Status, i.Size = Queued, 0 }),
		stored(4, func(i *Image) { i.Visibility = Private }), stored(5, func(i *Image) { i.Size, i.Checksum = 0, "" }),
	)
	file := func(n int) string { return "/v2/images/" + string(id(n)) + "/file" }
	b.get(file(2), "alpha").want(403)
	b.get(file(2), "admin").want(200)
	b.get(file(3), "alpha").want(204).header("Content-Length", "")
	b.get(file(4), "beta").want(404)
	b.get(file(5), "alpha").want(200).header("Content-Length", "0").header("Content-Md5", "")
	b.get(file(5), "alpha", "Range", "bytes=0-0").want(416)
	b.get(file(5), "alpha", "Range", "bytes=-1").want(416)
	b.get(file(6), "alpha").want(404)
	b.get("/v2/images/none/file", "alpha").want(404)
	b.get(file(1), "reader").want(403) // download_image wants a member
	b.get(file(4), "reader").want(403)
	b.do(http.MethodHead, file(1), "alpha", "").want(405).header("Allow", "GET")
}

func TestPrefer(t *testing.T) {
	b := newBench(t, stored(1))
	url := "/v2/images/" + string(id(1)) + "/file?prefer="
	b.get(url+"dcn0,%20central", "beta").want(200)
	if got := strings.Join(b.stick.prefer, "|"); got != "dcn0|central" {
		t.Error(got)
	}
	b.get(url, "beta").want(200)
	if b.stick.prefer != nil {
		t.Error(b.stick.prefer)
	}
	b.get(url+"nowhere", "beta").want(400)
	b.get(url+"dcn0,", "beta").want(400)
	b.get(url+strings.Repeat("dcn0,", 100)+"dcn0", "beta").want(400)
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"download_from_store": always}}
	b.get(url+"dcn0", "beta").want(403)
	b.get(url, "beta").want(200)
	b.reads.Policy, b.reads.Stores = veto{}, nil
	b.get(url+"unchecked", "beta").want(200)
}

func TestDownloadFailures(t *testing.T) {
	b := newBench(t, stored(1))
	url := "/v2/images/" + string(id(1)) + "/file"
	b.stick.errs = []error{fault.New(fault.Unavailable, "STORE_OFFLINE", "no store can be read now")}
	b.get(url, "beta").want(503).header("Retry-After", "5").header("Content-Md5", "")
	b.stick.cut = 4 // in the first piece: still an answer
	if got := b.get(url, "beta").want(500).header("Content-Length", "").Body.String(); strings.Contains(got, "10.0.0.7") {
		t.Error(got)
	}
	b.stick.data = []byte(strings.Repeat("x", 600<<10))
	b.reads.Source = newAlbum(stored(1, func(i *Image) { i.Size = 600 << 10 }))
	b.stick.cut = 300 << 10 // later: cut
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Error("the answer is not cut", err)
			}
		}()
		b.get(url, "beta")
	}()
	b.stick.cut = 0
	if got := b.get(url, "beta").want(200).Body.Len(); got != 600<<10 {
		t.Error(got)
	}
	if b.stick.closed != 3 {
		t.Error("closed", b.stick.closed)
	}
}

// An image whose copies cannot be read is not one without data.
func TestDownloadWithoutACopy(t *testing.T) {
	for status, code := range map[ImageStatus]int{
		Active: 503, PendingDelete: 503, Queued: 204, Importing: 204, Uploading: 204, Saving: 204,
	} {
		b := newBench(t, stored(1, func(i *Image) { i.Status, i.Stores = status, nil }))
		b.get("/v2/images/"+string(id(1))+"/file", "alpha").want(code)
	}
	b := newBench(t, stored(1, func(i *Image) { i.Size, i.Stores = 0, nil }))
	b.get("/v2/images/"+string(id(1))+"/file", "alpha").want(204)
}
