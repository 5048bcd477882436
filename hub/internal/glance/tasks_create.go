package glance

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// taskRequest is what a task to import needs.
type taskRequest struct {
	from, format string
	properties   map[string]json.RawMessage
}

// createTask creates an image and begins to import its data from a URL: an old way to do both.
func (s *Server) createTask(w http.ResponseWriter, r *http.Request) error {
	if err := s.mayTasks(r); err != nil {
		return err
	}
	req, err := s.readTask(r)
	if err != nil {
		return err
	}
	c := auth.From(r.Context())
	draft, err := s.newImage(c, req.properties)
	if err != nil {
		return err
	}
	if draft.DiskFormat == "" {
		draft.DiskFormat = req.format
	}
	if draft.ContainerFormat == "" {
		draft.ContainerFormat = "bare"
	}
	if err := s.mayCreate(c, draft); err != nil {
		return err
	}
	if _, err := s.Catalog.CreateImage(r.Context(), draftOf(draft)); err != nil {
		return err
	}
	op, err := s.Importer.Enqueue(r.Context(), catalog.Import{
		Image: image.ID(draft.Id), Target: catalog.Target{Stores: []string{string(s.Catalog.Central())}, AllMustSucceed: true},
		URI: req.from, Method: taskImport,
	}, nil)
	if err != nil {
		if _, derr := s.Catalog.DeleteImage(r.Context(), image.ID(draft.Id)); derr != nil {
			s.Log.Warn("image of a refused task not removed", "image", draft.Id, "error", derr)
		}
		return err
	}
	w.Header().Set("Location", "/v2/tasks/"+op.Id)
	return imageapi.WriteJSON(w, http.StatusCreated, s.task(op))
}

// readTask reads the body of createTask. Its errors are Invalid.
func (s *Server) readTask(r *http.Request) (req taskRequest, err error) {
	var body struct {
		Type  json.RawMessage            `json:"type"`
		Input map[string]json.RawMessage `json:"input"`
	}
	if err := imageapi.ReadJSON(r, 0, &body); err != nil {
		return req, err
	}
	kind, err := text("type", orNull(body.Type))
	if err != nil {
		return req, err
	}
	if kind != taskImport {
		return req, fault.BadField("type", "must be import; other tasks are begun in other ways")
	}
	for _, name := range slices.Sorted(maps.Keys(body.Input)) {
		if name != "import_from" && name != "import_from_format" && name != "image_properties" {
			return req, fault.BadField("input", "%s is not known", quoted(name))
		}
	}
	if req.from, err = text("input.import_from", orNull(body.Input["import_from"])); err != nil {
		return req, err
	}
	if err := s.Outside.Check(req.from); err != nil {
		return req, err
	}
	var draft storev1.Image
	if err := setDiskFormat(&draft, orNull(body.Input["import_from_format"])); err != nil {
		return req, err
	}
	if req.format = draft.DiskFormat; req.format == "" {
		return req, fault.BadField("input.import_from_format", "must name a disk format")
	}
	if err := json.Unmarshal(orNull(body.Input["image_properties"]), &req.properties); err != nil || req.properties == nil {
		return req, fault.BadField("input.image_properties", "must be an object")
	}
	return req, nil
}
