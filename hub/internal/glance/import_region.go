package glance

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	regionTimeout  = 30 * time.Second // for a connection, and for the head of an answer
	catalogTimeout = 10 * time.Second // for the service catalog
)

// regionClient talks to the Image API of other regions. The token goes to the address that the service catalog names and
// nowhere else: redirects are not followed, no proxy is used.
var regionClient = &http.Client{
	Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: regionTimeout}).DialContext,
		TLSHandshakeTimeout:   regionTimeout,
		ResponseHeaderTimeout: regionTimeout,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   1,
		IdleConnTimeout:       time.Minute,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

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
	remote := remoteImage{url: base + "/v2/images/" + string(req.remote), token: token}
	_, err = s.Importer.Enqueue(r.Context(), in, func(ctx context.Context) (io.ReadCloser, int64, error) {
		return s.openRemote(ctx, in.Image, remote)
	})
	return err
}

// openRemote copies properties of an image of another region and opens its data.
func (s *Server) openRemote(ctx context.Context, id image.ID, remote remoteImage) (io.ReadCloser, int64, error) {
	attributes, err := remote.attributes(ctx)
	if err != nil {
		return nil, 0, err
	}
	img, _ := s.Catalog.Read().Image(id)
	if format := attributes["disk_format"]; format != img.GetDiskFormat() {
		return nil, 0, fault.New(fault.Precondition, "FORMAT_DIFFERS",
			"the image has disk_format %s in the other region, not %s", quoted(format), img.GetDiskFormat())
	}
	err = s.Catalog.EditImage(ctx, id, 0, func(record *storev1.Image) error {
		for name, value := range attributes {
			if !copied(name) || imageapi.Base(name) || imageapi.Reserved(name) {
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
		return nil, 0, err
	}
	resp, err := remote.get(ctx, "/file")
	if err != nil {
		return nil, 0, err
	}
	return resp.Body, max(resp.ContentLength, 0), nil
}

func copied(name string) bool {
	for _, p := range copiedProperties {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// remoteImage is an image of another region.
type remoteImage struct{ url, token string }

// get asks for a part of the image. The caller closes the body. Errors say nothing of the address.
func (i remoteImage) get(ctx context.Context, part string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+part, http.NoBody)
	if err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "REGION_UNREACHABLE", "the service catalog names no usable address of the region")
	}
	req.Header.Set("X-Auth-Token", i.token)
	resp, err := regionClient.Do(req)
	if err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "REGION_UNREACHABLE", "the Image API of the region cannot be reached")
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fault.New(fault.Precondition, "REGION_REFUSED", "the Image API of the region answered %d", resp.StatusCode)
	}
	return resp, nil
}

// attributes returns what is known of the image in its region: those of its attributes that are strings.
func (i remoteImage) attributes(ctx context.Context) (map[string]string, error) {
	resp, err := i.get(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var all map[string]any
	if err := json.NewDecoder(io.LimitReader(resp.Body, imageapi.MaxJSON)).Decode(&all); err != nil {
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
