package glance

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/inspect"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Headers that say more about data.
const (
	headerStore = "X-Image-Meta-Store"
	headerSize  = "X-Openstack-Image-Size"
)

// putFile stores the data of an image. The answer waits until the image is active, for as long as some store makes
// progress. When none has for UploadWait, it is 204 all the same: the bytes are safe at the hub, and the image becomes
// active by itself. The caller is looked at once, at the start: an upload may outlive its token.
func (s *Server) putFile(w http.ResponseWriter, r *http.Request) error {
	in, err := dataRequest(r, importer.MethodUpload)
	if err != nil {
		return err
	}
	store, err := s.wantedStore(r, http.StatusBadRequest)
	if err != nil {
		return err
	}
	img, _, err := s.reads.Find(r, "upload_image")
	if err != nil {
		return err
	}
	if err := checkUploadable(img); err != nil {
		return err
	}
	if img.DiskFormat == "" || img.ContainerFormat == "" {
		return fault.New(fault.Invalid, "NO_FORMAT", "disk_format and container_format must be set before the data is uploaded")
	}
	data := newBody(w, r)
	if in.SizeBytes == 0 && r.ContentLength == 0 {
		return s.putNothing(w, r, img.ID)
	}
	if err := s.ready(store); err != nil {
		return err
	}
	in.Image, in.Target, in.Direct = img.ID, catalog.Target{Stores: []string{string(store)}}, true
	op, err := s.Importer.Store(r.Context(), in, data)
	if err != nil {
		data.leave(w)
		s.awaitUndone(r.Context(), img.ID)
		if fault.ReasonOf(err) == importer.ReasonEmpty {
			return s.putNothing(w, r, img.ID)
		}
		return uploadError(err)
	}
	if err := s.awaitActive(r.Context(), op); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// putNothing makes an image active whose data is empty; no store has to do anything for it.
func (s *Server) putNothing(w http.ResponseWriter, r *http.Request, id image.ID) error {
	if err := s.Catalog.ActivateEmpty(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// stage puts the data of an image into the staging area, from where imports take it.
func (s *Server) stage(w http.ResponseWriter, r *http.Request) error {
	if !s.offers(importer.MethodGlanceDirect) {
		return fault.New(fault.NotFound, "NOT_OFFERED", "the import method glance-direct is not enabled")
	}
	in, err := dataRequest(r, importer.MethodStage)
	if err != nil {
		return err
	}
	img, _, err := s.reads.Find(r, "modify_image")
	if err != nil {
		return err
	}
	if err := checkUploadable(img); err != nil {
		return err
	}
	in.Image = img.ID
	data := newBody(w, r)
	if _, err := s.Importer.Stage(r.Context(), in, data); err != nil {
		data.leave(w)
		s.awaitUndone(r.Context(), img.ID)
		return uploadError(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// dataRequest reads the headers of a request that brings data.
func dataRequest(r *http.Request, method string) (catalog.Import, error) {
	in := catalog.Import{Method: method, SizeBytes: max(r.ContentLength, 0)}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/octet-stream" {
		return in, imageapi.Status(fault.New(fault.Invalid, "CONTENT_TYPE", "data must be sent as application/octet-stream"),
			http.StatusUnsupportedMediaType)
	}
	if text := r.Header.Get(headerSize); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return in, fault.BadField("x-openstack-image-size", "must be a whole number of bytes")
		}
		in.SizeBytes = n
	}
	return in, nil
}

// wantedStore returns the store that a header names, else the central one. An unknown one is answered with code.
func (s *Server) wantedStore(r *http.Request, code int) (image.StoreID, error) {
	name := r.Header.Get(headerStore)
	if name == "" {
		return s.Catalog.Central(), nil
	}
	return image.StoreID(name), s.knownStore(name, code)
}

// knownStore returns an error, answered with code, unless a store has the name.
func (s *Server) knownStore(name string, code int) error {
	if st, _ := s.Catalog.Read().Store(image.StoreID(name)); st == nil {
		return imageapi.Status(fault.New(fault.Invalid, "UNKNOWN_STORE", "no store is named %s", quoted(name)), code)
	}
	return nil
}

func checkUploadable(img *imageapi.Image) error {
	if img.Status != imageapi.Queued {
		return fault.New(fault.Precondition, "NOT_QUEUED", "data can be stored for a queued image only; image %s is %s", img.ID, img.Status)
	}
	return nil
}

// ready returns an Unavailable error unless the store or the central one can take data now. It asks nobody.
func (s *Server) ready(store image.StoreID) error {
	if s.healthy(store) || s.healthy(s.Catalog.Central()) {
		return nil
	}
	return fault.New(fault.Unavailable, "NO_STORE_READY", "neither store %s nor the central store can take data now; try again later", store)
}

// healthy reports whether a store is connected and its cluster answers, as far as the hub knows.
func (s *Server) healthy(id image.StoreID) bool {
	st, _ := s.Catalog.Read().Store(id)
	if st == nil {
		return false
	}
	live := s.Directory.Store(image.SiteID(st.SiteId), id)
	return live.Online && live.Status.GetHealthy()
}

// awaitActive waits until the image of an upload is active. Its error says what became of it instead. Without progress it
// gives up in peace.
func (s *Server) awaitActive(ctx context.Context, op *storev1.Operation) error {
	var failure error
	s.await(ctx, s.Settings.UploadWait, func() (bool, int64) {
		img, _ := s.Catalog.Read().Image(image.ID(op.ImageId))
		o, _ := s.Catalog.Read().Operation(image.ID(op.Id))
		switch {
		case gone(img):
			failure = errDeleted()
		case img.Status == storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
		case o.GetState() == storev1.OperationState_OPERATION_STATE_FAILED:
			failure = storeError(o.Error)
		case o.GetState() == storev1.OperationState_OPERATION_STATE_CANCELLED:
			failure = errDeleted()
		default:
			return false, s.bytesDone(op)
		}
		return true, 0
	})
	return failure
}

// bytesDone adds up what the stores of an operation have written.
func (s *Server) bytesDone(op *storev1.Operation) int64 {
	var n int64
	for _, part := range op.Stores {
		if st, _ := s.Catalog.Read().Store(image.StoreID(part.StoreId)); st != nil {
			t, _ := s.Directory.Transfer(image.SiteID(st.SiteId), image.ID(op.ImageId), image.StoreID(part.StoreId))
			n += t.Done
		}
	}
	return n
}

func errDeleted() error {
	return fault.New(fault.Cancelled, "IMAGE_GONE", "the image was deleted, or its data given up, before all of it was stored")
}

// uploadError turns the end of an upload into its answer.
func uploadError(err error) error {
	switch fault.ReasonOf(err) {
	case "IMPORT_CANCELLED", "IMPORT_ENDED":
		return errDeleted()
	case "NO_FORMAT", "CALLER_LOST":
		return imageapi.Status(err, http.StatusBadRequest)
	case inspect.ReasonMismatch, inspect.ReasonUnsafe:
		return imageapi.Status(err, http.StatusUnsupportedMediaType)
	case "NOT_QUEUED":
		return err
	}
	if fault.Is(err, fault.Precondition) { // the stores gave up while data was coming
		return storeError(&storev1.OperationError{Reason: fault.ReasonOf(err), Message: fault.Public(err)})
	}
	return err
}

// storeError turns the failure of all stores into an answer.
func storeError(e *storev1.OperationError) error {
	class := fault.Unavailable
	if e.GetReason() == "NO_SPACE" {
		class = fault.Exhausted
	}
	message := "the data could not be stored"
	if e.GetMessage() != "" {
		message = fmt.Sprintf("%s: %s", message, e.Message)
	}
	return fault.New(class, e.GetReason(), "%s", message)
}
