package glance

import (
	"net/http"
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

func (s *Server) offers(method string) bool { return slices.Contains(s.Settings.Methods(), method) }

// importInfo tells the import methods.
func (s *Server) importInfo(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	type value struct {
		Description string   `json:"description"`
		Type        string   `json:"type"`
		Value       []string `json:"value"`
	}
	return imageapi.WriteJSON(w, http.StatusOK, map[string]value{
		"import-methods": {Description: "Import methods available.", Type: "array", Value: s.Settings.Methods()},
	})
}

// importImage begins an import, or a copy to more stores, and answers at once. Mistakes in the request come first (400),
// then whether the caller may (404, 403), then what the state of the image and the stores forbids (409).
func (s *Server) importImage(w http.ResponseWriter, r *http.Request) error {
	req, err := s.readImport(r)
	if err != nil {
		return err
	}
	rule := "modify_image"
	if req.method == importer.MethodCopyImage {
		rule = "copy_image"
	}
	img, _, err := s.reads.Find(r, rule)
	if err != nil {
		return err
	}
	if err := s.checkPresent(req, img); err != nil {
		return err
	}
	for _, name := range req.target.Stores {
		if err := s.knownStore(name, http.StatusConflict); err != nil {
			return err
		}
	}
	if err := checkImportable(req.method, img); err != nil {
		return err
	}
	if err := s.begin(r, req, img.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// checkPresent refuses a copy to a named store that holds the image already: whoever asks twice may take that for a
// race it has lost, and look again.
func (s *Server) checkPresent(req importRequest, img *imageapi.Image) error {
	if req.method != importer.MethodCopyImage || req.target.All {
		return nil
	}
	for _, name := range req.target.Stores {
		if slices.Contains(img.Stores, name) {
			return errPresent(name)
		}
	}
	return nil
}

func errPresent(store string) error {
	return fault.New(fault.Invalid, "REPLICA_EXISTS", "Image is already present at store '%s'", store)
}

// checkImportable compares the state of an image with what a method needs.
func checkImportable(method string, img *imageapi.Image) error {
	need := imageapi.Queued
	switch method {
	case importer.MethodGlanceDirect:
		need = imageapi.Uploading
	case importer.MethodCopyImage:
		need = imageapi.Active
	}
	switch {
	case img.Status != need:
		return fault.New(fault.Precondition, "WRONG_STATUS", "%s needs an image that is %s; image %s is %s", method, need, img.ID, img.Status)
	case img.DiskFormat == "" || img.ContainerFormat == "":
		return fault.New(fault.Precondition, "NO_FORMAT", "disk_format and container_format of image %s must be set before it is imported", img.ID)
	}
	return nil
}

// begin starts what the request asks for.
func (s *Server) begin(r *http.Request, req importRequest, id image.ID) error {
	ctx, in := r.Context(), catalog.Import{Image: id, Target: req.target, Method: req.method, Checksum: req.sum}
	var err error
	switch req.method {
	case importer.MethodGlanceDirect:
		_, err = s.Importer.ImportStaged(ctx, in)
	case importer.MethodWebDownload:
		in.URI = req.uri
		_, err = s.Importer.Enqueue(ctx, in, nil)
	case importer.MethodGlanceDownload:
		err = s.beginRegion(r, req, in)
	case importer.MethodCopyImage:
		_, err = s.Catalog.Replicate(ctx, id, req.target, req.method)
		if fault.Is(err, fault.Exists) {
			if req.target.All {
				return nil // nothing is left to copy
			}
			return imageapi.Status(err, http.StatusBadRequest)
		}
	}
	return err
}
