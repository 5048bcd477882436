package glance

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Every way to say what an image is, or to bring its data, refuses formats that the installation does not accept and says which
// ones it does. What was accepted before stays readable and can be changed otherwise.
func TestAcceptedFormats(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) {
		var err error
		if o.limits.Formats, err = image.ParseFormats([]string{"raw", "gpt"}, []string{"bare"}); err != nil {
			t.Fatal(err)
		}
	})
	id := h.create()
	from := `{"type":"import","input":{"import_from":"http://127.0.0.1:1/x","import_from_format":"vmdk","image_properties":{"name":"n"}}}`
	for _, c := range []struct{ about, method, path, body, kind, list string }{
		{"create", "POST", "/v2/images", `{"disk_format":"qcow2"}`, "application/json", "raw, gpt"},
		{"create, container", "POST", "/v2/images", `{"container_format":"docker"}`, "application/json", "bare"},
		{"unknown", "POST", "/v2/images", `{"disk_format":"floppy"}`, "application/json", "raw, gpt"},
		{
			"patch", "PATCH", "/v2/images/" + string(id), `[{"op":"replace","path":"/disk_format","value":"qcow2"}]`,
			"application/openstack-images-v2.1-json-patch", "raw, gpt",
		},
		{"task", "POST", "/v2/tasks", from, "application/json", "raw, gpt"},
	} {
		h.about = c.about
		answer := h.want(http.StatusBadRequest, c.method, c.path, strings.NewReader(c.body), "Content-Type", c.kind, "X-Auth-Token", "admin")
		if !strings.Contains(string(answer.body), "one of "+c.list) {
			t.Errorf("%s: %s", c.about, answer.body)
		}
	}
	h.about = "accepted"
	h.want(http.StatusCreated, "POST", "/v2/images", strings.NewReader(`{"disk_format":"gpt","container_format":"bare"}`))
	if _, err := h.catalog.CreateImage(t.Context(), catalog.NewImage{DiskFormat: "qcow2", ContainerFormat: "bare"}); err == nil {
		t.Error("the catalog accepts another format")
	}

	old := h.create()
	if err := h.records.Commit(t.Context(), h.reformat(old, "vmdk")); err != nil {
		t.Fatal(err)
	}
	h.about = "accepted before"
	if img := h.want(http.StatusOK, "GET", "/v2/images/"+string(old), nil).json(t); img["disk_format"] != "vmdk" {
		t.Errorf("got %v", img)
	}
	h.want(http.StatusOK, "PATCH", "/v2/images/"+string(old), strings.NewReader(`[{"op":"replace","path":"/name","value":"other"}]`),
		"Content-Type", "application/openstack-images-v2.1-json-patch")
	for _, part := range []string{"file", "stage"} {
		h.want(http.StatusBadRequest, "PUT", path(old, part), bytes.NewReader([]byte("data")), octets()...)
	}
	answer := h.want(http.StatusBadRequest, "POST", path(old, "import"), jsonBody(webDownload("http://127.0.0.1:1/x", "")))
	if !strings.Contains(string(answer.body), "one of raw, gpt") {
		t.Errorf("%s", answer.body)
	}
	h.wantStatus(old, "queued")
}

// reformat returns the change that gives an image a disk format, as an installation with other settings has done.
func (h *hub) reformat(id image.ID, disk string) catalog.Write {
	h.t.Helper()
	img, revision := h.records.Image(id)
	changed := &storev1.Image{
		Id: img.Id, Name: img.Name, Owner: img.Owner, Status: img.Status, Visibility: img.Visibility, DiskFormat: disk,
		ContainerFormat: img.ContainerFormat, CreateTime: img.CreateTime, UpdateTime: img.UpdateTime,
	}
	return catalog.Write{Key: catalog.ImageKey(id), Value: changed, Revision: revision}
}
