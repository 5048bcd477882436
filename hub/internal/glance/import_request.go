package glance

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// importRequest is a request to import whose form is right.
type importRequest struct {
	method string
	uri    string
	sum    image.Checksum
	target catalog.Target
	// Of glance-download: the image to get, and where.
	region, iface string
	remote        image.ID
}

// importBody is the body of a request to import as it comes.
type importBody struct {
	Method     json.RawMessage `json:"method"`
	Stores     json.RawMessage `json:"stores"`
	AllStores  json.RawMessage `json:"all_stores"`
	AllSucceed json.RawMessage `json:"all_stores_must_succeed"`
}

// importMethod is the part of the body that names the method.
type importMethod struct {
	Name   *string         `json:"name"`
	URI    json.RawMessage `json:"uri"`
	Sum    json.RawMessage `json:"checksum"`
	Region json.RawMessage `json:"glance_region"`
	Image  json.RawMessage `json:"glance_image_id"`
	Iface  json.RawMessage `json:"glance_service_interface"`
}

// readImport reads a request to import. Its errors are Invalid.
func (s *Server) readImport(r *http.Request) (importRequest, error) {
	var b importBody
	if err := imageapi.ReadJSON(r, 0, &b); err != nil {
		return importRequest{}, err
	}
	req, err := s.readMethod(b.Method)
	if err != nil {
		return req, err
	}
	req.target, err = s.readTarget(b, r.Header.Get(headerStore))
	return req, err
}

func (s *Server) readMethod(raw json.RawMessage) (req importRequest, err error) {
	var m *importMethod
	if err := json.Unmarshal(orNull(raw), &m); err != nil || m == nil {
		return req, fault.BadField("method", "an object that names the import method is required")
	}
	if m.Name == nil {
		return req, fault.BadField("method.name", "is required")
	}
	if req.method = *m.Name; !s.offers(req.method) {
		return req, fault.BadField("method.name", "%s is not an enabled import method", quoted(req.method))
	}
	switch req.method {
	case importer.MethodWebDownload:
		if req.uri, err = text("method.uri", orNull(m.URI)); err == nil {
			err = s.Outside.Check(req.uri)
		}
	case importer.MethodGlanceDownload:
		err = req.readRegion(m)
	}
	if err == nil {
		err = req.readChecksum(m)
	}
	return req, err
}

// readChecksum reads what the data must hash to, which only data has that comes from elsewhere.
func (req *importRequest) readChecksum(m *importMethod) error {
	if m.Sum == nil || string(m.Sum) == "null" {
		return nil
	}
	if req.method != importer.MethodWebDownload && req.method != importer.MethodGlanceDownload {
		return fault.BadField("method.checksum", "is for web-download and glance-download only")
	}
	sum, err := text("method.checksum", m.Sum)
	if err == nil {
		req.sum, err = image.ParseChecksum("method.checksum", sum)
	}
	return err
}

// readRegion reads what glance-download needs.
func (req *importRequest) readRegion(m *importMethod) (err error) {
	if req.region, err = text("method.glance_region", orNull(m.Region)); err != nil {
		return err
	}
	if req.region == "" || len(req.region) > imageapi.MaxName {
		return fault.BadField("method.glance_region", "must have 1 to %d bytes", imageapi.MaxName)
	}
	id, err := text("method.glance_image_id", orNull(m.Image))
	if err != nil {
		return err
	}
	if req.remote, err = image.ParseID("method.glance_image_id", id); err != nil {
		return err
	}
	if req.iface = "public"; m.Iface == nil {
		return nil
	}
	if req.iface, err = text("method.glance_service_interface", m.Iface); err != nil {
		return err
	}
	if !slices.Contains([]string{"public", "internal", "admin"}, req.iface) {
		return fault.BadField("method.glance_service_interface", "must be public, internal or admin")
	}
	return nil
}

// readTarget reads which stores the request is for; header is the store that a header names.
func (s *Server) readTarget(b importBody, header string) (t catalog.Target, err error) {
	t.AllMustSucceed = true
	if b.AllStores != nil {
		if err := flag("all_stores", b.AllStores, &t.All); err != nil {
			return t, err
		}
	}
	if b.AllSucceed != nil {
		if err := flag("all_stores_must_succeed", b.AllSucceed, &t.AllMustSucceed); err != nil {
			return t, err
		}
	}
	if b.Stores != nil {
		if err := json.Unmarshal(b.Stores, &t.Stores); err != nil || t.Stores == nil {
			return t, fault.BadField("stores", "must be a list of store ids")
		}
		if len(t.Stores) == 0 {
			return t, fault.BadField("stores", "must name at least one store")
		}
	}
	switch {
	case t.All && (b.Stores != nil || header != ""):
		return t, fault.BadField("all_stores", "must not be combined with stores or the header x-image-meta-store")
	case b.Stores != nil && header != "":
		return t, fault.BadField("stores", "must not be combined with the header x-image-meta-store")
	case header != "":
		t.Stores = []string{header}
	case !t.All && b.Stores == nil:
		t.Stores = []string{string(s.Catalog.Central())}
	}
	return t, nil
}

// orNull returns raw, null when it is absent.
func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}
