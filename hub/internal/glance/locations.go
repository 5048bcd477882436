package glance

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// listLocations returns the published copies, those of the caller's site first.
func (s *Server) listLocations(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, c, err := s.reads.Find(r, "fetch_image_location")
	if err != nil {
		return err
	}
	type location struct {
		URL      string            `json:"url"`
		Metadata map[string]string `json:"metadata"`
	}
	list := []location{}
	for _, l := range img.LocationsFor(c) {
		list = append(list, location{URL: l.URL, Metadata: map[string]string{"store": l.Store}})
	}
	return imageapi.WriteJSON(w, http.StatusOK, list)
}

// addLocation takes over a copy that somebody else, such as Nova, has written into a store.
func (s *Server) addLocation(w http.ResponseWriter, r *http.Request) error {
	where, expected, err := readLocation(r)
	if err != nil {
		return err
	}
	img, c, err := s.reads.Find(r, "add_image_location")
	if err != nil {
		return err
	}
	if !s.service(c) { // others may name http sources only, and no store takes those
		return fault.New(fault.Denied, "NOT_ALLOWED", "only services may add this location")
	}
	store, err := s.locate(img.ID, where)
	if err != nil {
		return imageapi.Status(err, http.StatusBadRequest)
	}
	if img.Status != imageapi.Queued {
		return fault.New(fault.Precondition, "NOT_QUEUED", "a location can be added to a queued image only; image %s is %s", img.ID, img.Status)
	}
	if _, err := s.Catalog.Adopt(r.Context(), img.ID, store, expected); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// service reports whether the caller may say where the data of an image is.
func (s *Server) service(c *auth.Caller) bool {
	return s.Policy.Allowed(c, "service_api", nil) || s.Policy.Allowed(c, "show_image_locations", nil)
}

// digestSizes are the algorithms that a caller may use, with the length of their digests in bytes.
var digestSizes = map[string]int{"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}

// readLocation reads the body of addLocation. Its errors are Invalid and do not repeat the URL.
func readLocation(r *http.Request) (where string, expected *storev1.Expected, err error) {
	var in struct {
		URL      json.RawMessage `json:"url"`
		Expected json.RawMessage `json:"validation_data"`
	}
	if err := imageapi.ReadJSON(r, 0, &in); err != nil {
		return "", nil, err
	}
	if where, err = text("url", orNull(in.URL)); err != nil {
		return "", nil, err
	}
	if where == "" || len(where) > imageapi.MaxName {
		return "", nil, fault.BadField("url", "must have 1 to %d bytes", imageapi.MaxName)
	}
	if in.Expected == nil {
		return where, nil, nil
	}
	expected, err = readDigest(in.Expected)
	return where, expected, err
}

// readDigest reads validation data; nil for an empty object.
func readDigest(raw json.RawMessage) (*storev1.Expected, error) {
	var v *struct {
		Algo  *string `json:"os_hash_algo"`
		Value *string `json:"os_hash_value"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return nil, fault.BadField("validation_data", "must be an object with os_hash_algo and os_hash_value")
	}
	switch {
	case v.Algo == nil && v.Value == nil:
		return nil, nil
	case v.Algo == nil || v.Value == nil:
		return nil, fault.BadField("validation_data", "os_hash_algo and os_hash_value belong together")
	case digestSizes[*v.Algo] == 0:
		return nil, fault.BadField("validation_data.os_hash_algo", "must be one of sha1, sha256, sha512, md5")
	}
	value := strings.ToLower(*v.Value)
	if digest, err := hex.DecodeString(value); err != nil || len(digest) != digestSizes[*v.Algo] {
		return nil, fault.BadField("validation_data.os_hash_value", "must be %d hexadecimal digits", 2*digestSizes[*v.Algo])
	}
	return &storev1.Expected{HashAlgo: *v.Algo, HashValue: value}, nil
}

// AddLocation takes over the copy that the URL names. Errors: Invalid for a URL that names no registered store or not
// this image, Denied for another scheme, and those of the catalog's Adopt. They do not repeat the URL.
func (s *Server) AddLocation(ctx context.Context, id image.ID, where string, expected *storev1.Expected) error {
	store, err := s.locate(id, where)
	if err != nil {
		return err
	}
	_, err = s.Catalog.Adopt(ctx, id, store, expected)
	return err
}

// RemoveLocation removes the copy in a store and waits, for DeleteWait at most, until that is decided. Errors: Denied for
// the last copy, NotFound, Precondition when it is in use.
func (s *Server) RemoveLocation(ctx context.Context, id image.ID, store image.StoreID) error {
	_, refused, err := s.removeCopy(ctx, id, store)
	if fault.ReasonOf(err) == "LAST_COPY" {
		return fault.New(fault.Denied, "LAST_COPY", "%s", fault.Public(err))
	}
	if err == nil && refused != nil {
		return fault.New(fault.Precondition, refused.Reason, "%s", refused.Message)
	}
	return err
}

// locate returns the store that a location lies in. Only copies of the image itself, in a registered store, under the
// names that this service uses, are locations: rbd://FSID/POOL/IMAGE/snap.
func (s *Server) locate(id image.ID, where string) (image.StoreID, error) {
	rest, ok := strings.CutPrefix(where, "rbd://")
	if !ok {
		return "", fault.New(fault.Denied, "SCHEME_REFUSED", "locations of this scheme are not accepted; use rbd://FSID/POOL/IMAGE/snap")
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 4 {
		return "", badLocation("must have the form rbd://FSID/POOL/IMAGE/snap")
	}
	for i, p := range parts {
		var err error
		if parts[i], err = url.PathUnescape(p); err != nil || parts[i] == "" {
			return "", badLocation("must have the form rbd://FSID/POOL/IMAGE/snap")
		}
	}
	if parts[2] != string(id) || parts[3] != "snap" {
		return "", badLocation("must name the RBD image with the id of this image and its snapshot snap")
	}
	for _, st := range s.Catalog.Read().Stores() {
		if st.Driver == "ceph" && st.Fsid == parts[0] && st.Pool == parts[1] {
			return image.StoreID(st.Id), nil
		}
	}
	return "", badLocation("lies in no registered store")
}

func badLocation(problem string) error { return fault.BadField("url", "%s", problem) }
