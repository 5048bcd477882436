package glance

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/policy"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const catalogTimeout = 10 * time.Second // for the service catalog

// copiedProperties are the properties that an image brings along from another region, by the beginning of their names.
var copiedProperties = []string{"hw_", "trait:", "os_distro", "os_secure_boot", "os_type"}

// beginRegion begins an import of an image of another region with the caller's own token.
func (s *Server) beginRegion(r *http.Request, req importRequest, in catalog.Import) error {
	if s.Regions == nil {
		return fault.New(fault.Invalid, "NO_REGIONS", "glance-download needs a service catalog, which this installation has none of")
	}
	token := r.Header.Get("X-Auth-Token")
	ctx, cancel := context.WithTimeout(r.Context(), catalogTimeout)
	defer cancel()
	endpoint, err := s.Regions.Endpoint(ctx, token, "image", req.iface, req.region)
	if fault.Is(err, fault.NotFound) {
		return fault.BadField("method.glance_region", "your service catalog has no Image API in region %s", quoted(req.region))
	}
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(strings.TrimRight(endpoint, "/"), "/v2")
	remote := remoteImage{client: s.Regional, url: base + "/v2/images/" + string(req.remote), token: token}
	c := auth.From(r.Context())
	_, err = s.Importer.Enqueue(r.Context(), in, func(ctx context.Context) (importer.Data, error) {
		return s.openRemote(ctx, c, in.Image, remote)
	})
	return err
}

// openRemote copies properties of an image of another region, as far as the caller may set them here, and opens its data.
func (s *Server) openRemote(ctx context.Context, c *auth.Caller, id image.ID, remote remoteImage) (importer.Data, error) {
	attributes, err := remote.attributes(ctx)
	if err != nil {
		return importer.Data{}, err
	}
	img, _ := s.Catalog.Read().Image(id)
	if format := attributes["disk_format"]; format != img.GetDiskFormat() {
		return importer.Data{}, fault.New(fault.Precondition, "FORMAT_DIFFERS",
			"the image has disk_format %s in the other region, not %s", quoted(format), img.GetDiskFormat())
	}
	err = s.Catalog.EditImage(ctx, id, 0, func(record *storev1.Image) error {
		for name, value := range attributes {
			if !copied(name) || imageapi.Base(name) || imageapi.Reserved(name) || !s.maySet(c, record, name) {
				continue
			}
			if record.Properties == nil {
				record.Properties = map[string]string{}
			}
			record.Properties[name] = value
		}
		return nil
	})
	if err != nil {
		return importer.Data{}, err
	}
	body, err := remote.get(ctx, "/file")
	if err != nil {
		return importer.Data{}, err
	}
	sum, err := image.ParseChecksum("os_hash_value", attributes["os_hash_algo"]+":"+attributes["os_hash_value"])
	if err != nil {
		sum = image.Checksum{} // of an algorithm that is not known here
	}
	return importer.Data{ReadCloser: body, Size: body.Size(), Sum: sum}, nil
}

// maySet reports whether the caller may give a property a value. One that the caller may not read is not there for it.
func (s *Server) maySet(c *auth.Caller, record *storev1.Image, name string) bool {
	if _, exists := record.Properties[name]; exists && s.Policy.Property(c, name, policy.Read) {
		return s.Policy.Property(c, name, policy.Update)
	}
	return s.Policy.Property(c, name, policy.Create)
}

func copied(name string) bool {
	for _, p := range copiedProperties {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// remoteImage is an image of another region. Its token goes to the address that the service catalog names and nowhere else.
type remoteImage struct {
	client     *outside.Client
	url, token string
}

// get asks for a part of the image. The caller closes the body. Errors say nothing of the address.
func (i remoteImage) get(ctx context.Context, part string) (*outside.Body, error) {
	body, err := i.client.Open(ctx, outside.Request{URI: i.url + part, Header: http.Header{"X-Auth-Token": {i.token}}})
	if err == nil || ctx.Err() != nil {
		return body, err
	}
	if status, ok := errors.AsType[outside.Status](err); ok {
		return nil, fault.New(fault.Precondition, "REGION_REFUSED", "the Image API of the region answered %d", int(status))
	}
	return nil, fault.Wrap(err, fault.Precondition, "REGION_UNREACHABLE", "the Image API of the region cannot be reached")
}

// attributes returns what is known of the image in its region: those of its attributes that are strings.
func (i remoteImage) attributes(ctx context.Context) (map[string]string, error) {
	body, err := i.get(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	var all map[string]any
	if err := json.NewDecoder(io.LimitReader(body, imageapi.MaxJSON)).Decode(&all); err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "REGION_REFUSED", "the Image API of the region answered no image")
	}
	out := map[string]string{}
	for name, value := range all {
		if text, ok := value.(string); ok && imageapi.CheckText(name, text) == nil {
			out[name] = text
		}
	}
	if out["status"] != string(imageapi.Active) {
		return nil, fault.New(fault.Precondition, "REGION_REFUSED", "the image is not active in the other region")
	}
	return out, nil
}
