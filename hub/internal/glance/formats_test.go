package glance

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// withBacking is the header of a qcow2 whose backing file is /etc/passwd, in 100 KiB.
func withBacking() []byte {
	p := make([]byte, 100<<10)
	copy(p, "QFI\xfb\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x0b\x00\x00\x00\x10")
	copy(p[100:], "\x00\x00\x00\x68")
	copy(p[512:], "/etc/passwd")
	return p
}

// withoutBacking is the same without it: an empty disk of 4 MiB.
func withoutBacking() []byte {
	p := withBacking()
	copy(p[8:], make([]byte, 12))
	p[29] = 0x40
	return p
}

// formatted makes a queued image of alice's with a disk format.
func (h *hub) formatted(disk string) image.ID {
	h.t.Helper()
	img, err := h.catalog.CreateImage(h.t.Context(), catalog.NewImage{
		DiskFormat: disk, ContainerFormat: "bare", Owner: "p1", Visibility: storev1.Visibility_VISIBILITY_PRIVATE,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return image.ID(img.Id)
}

// Data that is not what the image is said to be, or that could make a reader open another file, is refused by every way
// in, and nothing of it is left.
func TestFormatsRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, c := range []struct {
		name, disk, says string
		data             []byte
	}{
		{"qcow2 with a backing file", "qcow2", "backing file", withBacking()},
		{"the same as raw", "raw", "backing file", withBacking()},
		{"qcow2 as raw", "raw", "disk_format", withoutBacking()},
		{"raw as qcow2", "qcow2", "disk_format", random(100 << 10)},
		{"short raw as vmdk", "vmdk", "disk_format", []byte("x")},
	} {
		h.about = c.name
		source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.data) }))
		for _, part := range []string{"file", "stage"} {
			id := h.formatted(c.disk)
			answer := h.want(http.StatusUnsupportedMediaType, "PUT", path(id, part), bytes.NewReader(c.data), octets()...).json(t)
			if message, _ := answer["message"].(string); !strings.Contains(message, c.says) || strings.Contains(message, "passwd") {
				t.Errorf("%s: %v", c.name, answer)
			}
			h.wantNothing(id)
		}
		id := h.formatted(c.disk)
		h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(webDownload(source.URL+"/x", "")))
		h.wantNothing(id)
		tasks := h.want(http.StatusOK, "GET", path(id, "tasks"), nil).json(t)["tasks"].([]any)
		if task := tasks[0].(map[string]any); task["status"] != "failure" || !strings.Contains(task["message"].(string), c.says) {
			t.Errorf("%s: %v", c.name, task)
		}
		source.Close()
	}
}

// The size of the disk is that of the header. What has been staged keeps the formats it has been looked at for.
func TestFormatsAccepted(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.importer.Unconverted = true })
	id := h.formatted("qcow2")
	h.want(http.StatusNoContent, "PUT", path(id, "stage"), bytes.NewReader(withoutBacking()), octets()...)
	err := h.catalog.EditImage(t.Context(), id, 0, func(img *storev1.Image) error { img.DiskFormat = "raw"; return nil })
	if err == nil {
		t.Error("the format of staged data was changed")
	}
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(glanceDirect))
	if img := h.wantStatus(id, "active"); img["virtual_size"] != float64(4<<20) || img["size"] != float64(100<<10) {
		t.Errorf("got %v", img)
	}
}
