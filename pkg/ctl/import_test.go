package ctl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// disk returns a file with a few MiB of data and the data.
func disk(t *testing.T) (string, []byte) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// only returns the only image of the hub.
func only(t *testing.T, h *clienttest.Hub) *hubv1.Image {
	t.Helper()
	if len(h.Images) != 1 {
		t.Fatalf("the hub has %d images", len(h.Images))
	}
	for _, img := range h.Images {
		return img
	}
	return nil
}

func TestImportFile(t *testing.T) {
	h := clienttest.Start(t)
	path, data := disk(t)
	r := atollctl(t, h, exitOK, "image", "import", path, "--name", "debian-12", "--all-stores", "--property", "os=debian", "--protected")
	img := only(t, h)
	if !bytes.Equal(h.Data[img.GetId()], data) || img.GetName() != "debian-12" || img.GetProperties()["os"] != "debian" || !img.GetProtected() {
		t.Errorf("image %v with %d bytes", img, len(h.Data[img.GetId()]))
	}
	if img.GetDiskFormat() != "raw" || img.GetContainerFormat() != "bare" {
		t.Errorf("formats %v", img)
	}
	has(t, r.out.String(), "id             "+img.GetId(), "dcn1     rbd://f-dcn1/images/"+img.GetId()+"/snap")
	has(t, r.err.String(), "image "+img.GetId(), "source: complete (100%, 3.1 MiB of 3.1 MiB)", "central: active\n", "dcn1: active\n")
}

func TestImportGoesToTheCentralStoreByDefault(t *testing.T) {
	h := clienttest.Start(t)
	r := &run{stdin: io.LimitReader(strings.NewReader(strings.Repeat("x", 100)), 100)}
	r.want(t, h, exitOK, "image", "import", "-", "--name", "piped", "-o", "json")
	if img := only(t, h); len(img.GetStores()) != 1 || img.GetStores()[0] != "central" || len(h.Data[img.GetId()]) != 100 {
		t.Errorf("image %v", img)
	}
	has(t, r.out.String(), `"kind": "OPERATION_KIND_IMPORT"`, `"state": "OPERATION_STATE_SUCCEEDED"`, `"store_id": "central"`)
}

func TestImportFromFileOnStandardInput(t *testing.T) {
	h := clienttest.Start(t)
	path, data := disk(t)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(1000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	r := &run{stdin: f}
	r.want(t, h, exitOK, "image", "import", "-", "--name", "rest")
	if got := h.Data[only(t, h).GetId()]; !bytes.Equal(got, data[1000:]) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestImportURL(t *testing.T) {
	h := clienttest.Start(t)
	gate := make(chan struct{})
	h.Script(clienttest.Step{Gate: gate, Do: clienttest.Succeed})
	r := atollctl(t, h, exitOK, "image", "import", "https://example.org/x.raw", "--name", "u", "--stores", "dcn0", "--wait=false")
	if r.out.String() != "00000000-0000-4000-8000-000000000001\n" {
		t.Errorf("standard output %q", &r.out)
	}
	has(t, r.err.String(), "operation wait 00000000-0000-4000-8000-000000000001")
	close(gate)
	r = atollctl(t, h, exitOK, "operation", "wait", strings.TrimSpace(r.out.String()))
	has(t, r.out.String(), "state             succeeded", "central: active", "dcn0: active")
}

func TestImportChecksum(t *testing.T) {
	path, data := disk(t)
	sum := sha256.Sum256(data)
	right := "sha256:" + hex.EncodeToString(sum[:])
	wrong := "sha512:" + strings.Repeat("0", 128)
	h := clienttest.Start(t)
	atollctl(t, h, exitOK, "image", "import", path, "--name", "file", "--checksum", right)
	if img := only(t, h); !bytes.Equal(h.Data[img.GetId()], data) {
		t.Errorf("%d bytes", len(h.Data[img.GetId()]))
	}
	h = clienttest.Start(t)
	r := atollctl(t, h, exitUsage, "image", "import", path, "--name", "file", "--checksum", wrong)
	has(t, r.err.String(), "cannot import "+path+": the data has sha512 ", "[SOURCE_UNREADABLE]")
	if len(h.Images) != 0 {
		t.Errorf("left behind: %v", h.Images)
	}
	atollctl(t, h, exitOK, "image", "import", "http://x/y", "--name", "url", "--checksum", strings.ToUpper(right))
	if got := h.Expected[only(t, h).GetId()]; got != right {
		t.Errorf("the hub was told %q", got)
	}
	atollctl(t, h, exitUsage, "image", "import", path, "--name", "file", "--checksum", "md5:0")
	atollctl(t, h, exitUsage, "image", "import", "--staged", "x", "--checksum", right)
}

// TestFailedImportLeavesNoRecord drives each way for the data not to come in.
func TestFailedImportLeavesNoRecord(t *testing.T) {
	path, _ := disk(t)
	refused := fault.New(fault.Exhausted, "STAGING_FULL", "the staging area is full")
	for _, tt := range []struct {
		name, from string
		prepare    func(*clienttest.Hub)
		code       int
		says       string
	}{
		{"upload refused", path, func(h *clienttest.Hub) { h.Fail("UploadImage", refused) }, exitFailed, "[STAGING_FULL]"},
		{"answer is an error", path, func(h *clienttest.Hub) { h.Fail("UploadAnswer", refused) }, exitFailed, "[STAGING_FULL]"},
		{"import refused", "http://x/y", func(h *clienttest.Hub) { h.Fail("ImportImage", refused) }, exitFailed, "[STAGING_FULL]"},
		{"create unanswered", path, func(h *clienttest.Hub) {
			h.Fail("CreateImage", fault.New(fault.Unavailable, "NO_LEADER", "no leader"))
		}, exitUnavailable, "[NO_LEADER]"},
		{"source fails later", "http://x/y", func(h *clienttest.Hub) {
			h.Script(clienttest.Step{Do: clienttest.FailAll(3, "SOURCE_NOT_FOUND", "the source answered 404")})
		}, exitFailed, "the source answered 404 [SOURCE_NOT_FOUND]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := clienttest.Start(t)
			tt.prepare(h)
			r := atollctl(t, h, tt.code, "image", "import", tt.from, "--name", "n")
			has(t, r.err.String(), tt.says)
			if len(h.Images) != 0 {
				t.Errorf("left behind: %v", h.Images)
			}
			if strings.Contains(r.err.String(), "could not be removed") {
				t.Error(r.err.String())
			}
		})
	}
}

func TestRecordThatCannotBeRemovedIsNamed(t *testing.T) {
	h := clienttest.Start(t)
	path, _ := disk(t)
	h.Fail("UploadImage", fault.New(fault.Exhausted, "STAGING_FULL", "the staging area is full"))
	h.Fail("DeleteImage", fault.New(fault.Denied, "NOT_YOURS", "no"))
	r := atollctl(t, h, exitFailed, "image", "import", path, "--name", "n")
	has(t, r.err.String(), "atollctl image delete "+only(t, h).GetId())
}

func TestImportUndoneByAStoreCanBeRepeated(t *testing.T) {
	h := clienttest.Start(t)
	path, _ := disk(t)
	h.Script(clienttest.Step{Do: func(op *hubv1.Operation) {
		clienttest.FailStore("dcn0", "NO_SPACE", "the pool is full")(op)
		clienttest.FailStore("central", "UNDONE", "undone because another store failed")(op)
		clienttest.FailAll(8, "NO_SPACE", "store dcn0: the pool is full")(op)
	}})
	args := []string{"image", "import", path, "--name", "n", "--stores", "dcn0", "--all-must-succeed"}
	r := atollctl(t, h, exitFailed, args...)
	img := only(t, h)
	has(t, r.err.String(), "atollctl: store dcn0: the pool is full [NO_SPACE]\n", "\n  dcn0: the pool is full [NO_SPACE]\n",
		"repeat the import with --id "+img.GetId())
	h.Script()
	atollctl(t, h, exitOK, append(args, "--id", strings.ToUpper(img.GetId()))...)
	if img := only(t, h); len(img.GetStores()) != 2 {
		t.Errorf("image %v", img)
	}
	// A record that was there before is kept when an import into it fails.
	h.Change(func() {
		h.Images[debian] = &hubv1.Image{Id: debian, Name: "n", Status: hubv1.ImageStatus_IMAGE_STATUS_QUEUED}
	})
	h.Fail("UploadImage", fault.New(fault.Exhausted, "STAGING_FULL", "the staging area is full"))
	atollctl(t, h, exitFailed, "image", "import", path, "--id", debian)
	if h.Images[debian] == nil {
		t.Error("the record is gone")
	}
}

func TestPartialImport(t *testing.T) {
	h := clienttest.Start(t)
	path, _ := disk(t)
	h.Script(clienttest.Step{Do: clienttest.FailStore("dcn0", "NO_SPACE", "the pool is full")}, clienttest.Step{Do: clienttest.Succeed})
	r := atollctl(t, h, exitPartial, "image", "import", path, "--name", "n", "--stores", "dcn0,dcn1")
	has(t, r.out.String(), "status         active", "rbd://f-dcn1/")
	has(t, r.err.String(), "atollctl: done, but not in every store\n  dcn0: the pool is full [NO_SPACE]\n")
}

// endless is data that never ends; every Read is reported.
type endless struct{ read func() }

func (e endless) Read(b []byte) (int, error) {
	e.read()
	b[0] = 'x'
	return len(b), nil
}

func TestInterruptAbortsAnUpload(t *testing.T) {
	h := clienttest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	r := &run{stdin: endless{func() {
		if n++; n == 12 { // more than the windows of a connection hold
			cancel()
		}
	}}}
	if code := r.do(ctx, h.Addr, "image", "import", "-", "--name", "n"); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	has(t, r.err.String(), "atollctl: interrupted; the upload was aborted")
	h.Await(t, "the end of the upload", func() bool { return len(h.Images) == 0 && len(h.Aborted) == 1 })
}

func TestUnreadableSourceInTheMiddle(t *testing.T) {
	h := clienttest.Start(t)
	r := &run{stdin: io.MultiReader(strings.NewReader(strings.Repeat("x", 5<<20)), badReader{})}
	r.want(t, h, exitUsage, "image", "import", "-", "--name", "n")
	has(t, r.err.String(), "[SOURCE_UNREADABLE]", "bad sector")
	h.Await(t, "the record to go", func() bool { return len(h.Images) == 0 })
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("bad sector") }

// TestLostAnswer cuts the connection after the last byte has arrived: the import goes on and is followed.
func TestLostAnswer(t *testing.T) {
	h := clienttest.Start(t)
	path, data := disk(t)
	h.Script(clienttest.Step{Do: clienttest.Succeed})
	h.Fail("UploadAnswer", fault.New(fault.Unavailable, "STOPPING", "the hub is stopping"))
	r := atollctl(t, h, exitOK, "image", "import", path, "--name", "n")
	if img := only(t, h); len(img.GetStores()) != 1 || len(h.Data[img.GetId()]) != len(data) {
		t.Errorf("image %v", img)
	}
	has(t, r.out.String(), "status         active")
}

func TestRecordIsRemovedOnceTheHubIsBack(t *testing.T) {
	h := clienttest.Start(t)
	path, _ := disk(t)
	h.Fail("UploadImage", fault.New(fault.Unavailable, "STOPPING", "the hub is stopping"))
	h.Fail("DeleteImage", fault.New(fault.Unavailable, "STARTING", "the hub is starting"))
	r := atollctl(t, h, exitUnavailable, "image", "import", path, "--name", "n")
	has(t, r.err.String(), "trying again to remove the record", "[STOPPING]")
	if len(h.Images) != 0 {
		t.Errorf("left behind: %v", h.Images)
	}
}

func TestConnectionBreaksDuringAnUpload(t *testing.T) {
	h := clienttest.Start(t)
	n := 0
	r := &run{stdin: endless{func() {
		if n++; n == 12 {
			h.Cut()
		}
	}}}
	r.want(t, h, exitUnavailable, "image", "import", "-", "--name", "n")
	has(t, r.err.String(), "atollctl: the hub does not answer any more; the upload was aborted and nothing of it is kept")
	h.Await(t, "the end of the upload", func() bool { return len(h.Images) == 0 && len(h.Aborted) == 1 })
}
