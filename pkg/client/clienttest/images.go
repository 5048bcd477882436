package clienttest

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

type images struct {
	hubv1.UnimplementedImageServiceServer
	h *Hub
}

// image returns an image. The caller holds mu.
func (h *Hub) image(id string) (*hubv1.Image, error) {
	img, ok := h.Images[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "there is no image %s", id)
	}
	return img, nil
}

// CreateImage implements the service.
func (s images) CreateImage(_ context.Context, req *hubv1.CreateImageRequest) (*hubv1.CreateImageResponse, error) {
	img := proto.CloneOf(req.GetImage())
	img.Status, img.CreateTime, img.Etag = hubv1.ImageStatus_IMAGE_STATUS_QUEUED, timestamppb.New(Now()), "1"
	s.h.Change(func() { s.h.Images[img.GetId()] = img })
	return &hubv1.CreateImageResponse{Image: proto.CloneOf(img)}, nil
}

// GetImage implements the service.
func (s images) GetImage(_ context.Context, req *hubv1.GetImageRequest) (*hubv1.GetImageResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	img, err := s.h.image(req.GetId())
	return &hubv1.GetImageResponse{Image: proto.CloneOf(img)}, err
}

// ListImages implements the service; the order is that of the UUIDs.
func (s images) ListImages(_ context.Context, req *hubv1.ListImagesRequest) (*hubv1.ListImagesResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	items, next, err := page(s.h.Images, func(img *hubv1.Image) bool { return wanted(req, img) }, req.GetPageToken())
	return &hubv1.ListImagesResponse{Images: items, NextPageToken: next}, err
}

// wanted reports whether an image is in a list.
func wanted(req *hubv1.ListImagesRequest, img *hubv1.Image) bool {
	switch {
	case req.GetName() != "" && req.GetName() != img.GetName(),
		req.GetOwner() != "" && req.GetOwner() != img.GetOwner(),
		req.GetVisibility() != 0 && req.GetVisibility() != img.GetVisibility(),
		req.GetStatus() != 0 && req.GetStatus() != img.GetStatus(),
		img.GetHidden() && !req.GetIncludeHidden():
		return false
	}
	for _, t := range req.GetTags() {
		if !slices.Contains(img.GetTags(), t) {
			return false
		}
	}
	return true
}

// UpdateImage implements the service.
func (s images) UpdateImage(_ context.Context, req *hubv1.UpdateImageRequest) (res *hubv1.UpdateImageResponse, err error) {
	s.h.Change(func() {
		img, findErr := s.h.image(req.GetImage().GetId())
		if findErr != nil {
			err = findErr
			return
		}
		if etag := req.GetImage().GetEtag(); etag != "" && etag != img.GetEtag() {
			err = fault.New(fault.Conflict, "ETAG_MISMATCH", "the image has changed meanwhile")
			return
		}
		from, to := req.GetImage().ProtoReflect(), img.ProtoReflect()
		for _, path := range req.GetUpdateMask().GetPaths() {
			field := to.Descriptor().Fields().ByName(protoreflect.Name(path))
			if field == nil {
				err = fault.BadField("update_mask", "%q cannot be updated", path)
				return
			}
			to.Clear(field)
			if from.Has(field) {
				to.Set(field, from.Get(field))
			}
		}
		n, _ := strconv.Atoi(img.GetEtag())
		img.Etag = strconv.Itoa(n + 1)
		res = &hubv1.UpdateImageResponse{Image: proto.CloneOf(img)}
	})
	return res, err
}

// DeleteImage implements the service.
func (s images) DeleteImage(_ context.Context, req *hubv1.DeleteImageRequest) (res *hubv1.DeleteImageResponse, err error) {
	s.h.Change(func() {
		img, findErr := s.h.image(req.GetId())
		if findErr != nil {
			err = findErr
			return
		}
		res = &hubv1.DeleteImageResponse{
			Operation: s.h.begin(hubv1.OperationKind_OPERATION_KIND_DELETE_IMAGE, img.GetId(), img.GetStores(), false),
		}
	})
	return res, err
}

// ImportImage implements the service; it brings in nothing but the operation.
func (s images) ImportImage(_ context.Context, req *hubv1.ImportImageRequest) (res *hubv1.ImportImageResponse, err error) {
	s.h.Change(func() {
		var op *hubv1.Operation
		if img := s.h.Images[req.GetId()]; req.GetStaged() && img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_UPLOADING {
			err = fault.New(fault.Precondition, "NOT_STAGED", "image %s has no staged data", req.GetId())
			return
		}
		s.h.staged[req.GetId()] = req.GetStaged()
		s.h.Expected[req.GetId()] = req.GetChecksum()
		op, err = s.h.beginImport(req.GetId(), req.GetTarget())
		res = &hubv1.ImportImageResponse{Operation: op}
	})
	return res, err
}

// beginImport starts an import. The caller holds mu.
func (h *Hub) beginImport(id string, target *hubv1.StoreSelection) (*hubv1.Operation, error) {
	img, err := h.image(id)
	if err != nil {
		return nil, err
	}
	stores, err := h.selected(target)
	if err != nil {
		return nil, err
	}
	img.Status = hubv1.ImageStatus_IMAGE_STATUS_IMPORTING
	img.ImportingToStores = stores
	return h.begin(hubv1.OperationKind_OPERATION_KIND_IMPORT, id, stores, target.GetAllMustSucceed()), nil
}

// selected returns the stores of a selection, sorted, the central store always among them. The caller holds mu.
func (h *Hub) selected(target *hubv1.StoreSelection) ([]string, error) {
	var ids []string
	for id, s := range h.Stores {
		if target.GetAllStores() || s.GetCentral() || slices.Contains(target.GetStores(), id) {
			ids = append(ids, id)
		}
	}
	if !target.GetAllStores() && len(target.GetStores()) == 0 {
		return nil, fault.BadField("target.stores", "the list is empty")
	}
	slices.Sort(ids)
	return ids, nil
}

// UploadImage implements the service.
func (s images) UploadImage(stream grpc.ClientStreamingServer[hubv1.UploadImageRequest, hubv1.UploadImageResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	header := m.GetHeader()
	var op *hubv1.Operation
	s.h.Change(func() { op, err = s.h.beginImport(header.GetId(), header.GetTarget()) })
	if err != nil {
		return err
	}
	var data []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.h.abort(op.GetId(), header.GetId())
			return err
		}
		data = append(data, m.GetData()...)
		s.h.Change(func() {
			live := s.h.Operations[op.GetId()]
			live.SourceBytesDone, live.SourceBytesTotal = int64(len(data)), header.GetSizeBytes()
			s.h.Data[header.GetId()] = data
		})
	}
	if n := header.GetSizeBytes(); n != 0 && n != int64(len(data)) {
		s.h.abort(op.GetId(), header.GetId())
		return fault.New(fault.Invalid, "SIZE_MISMATCH", "the upload has %d bytes, not %d", len(data), n)
	}
	// What a fault queued under this name breaks is the answer, after everything has arrived.
	if err := s.h.enter(stream.Context(), "/UploadAnswer"); err != nil {
		return err
	}
	s.h.Change(func() { op = proto.CloneOf(s.h.Operations[op.GetId()]) })
	return stream.SendAndClose(&hubv1.UploadImageResponse{Operation: op})
}

func (h *Hub) abort(operation, id string) {
	h.Change(func() {
		h.Aborted[id] = true
		if img := h.Images[id]; img != nil {
			img.Status, img.ImportingToStores = hubv1.ImageStatus_IMAGE_STATUS_QUEUED, nil
		}
		h.Operations[operation].State = hubv1.OperationState_OPERATION_STATE_FAILED
	})
}

// DownloadImage implements the service.
func (s images) DownloadImage(
	req *hubv1.DownloadImageRequest, stream grpc.ServerStreamingServer[hubv1.DownloadImageResponse],
) error {
	s.h.mu.Lock()
	img, err := s.h.image(req.GetId())
	data := s.h.Data[req.GetId()]
	s.h.mu.Unlock()
	if err != nil {
		return err
	}
	first := &hubv1.DownloadImageResponse{SizeBytes: img.GetSizeBytes()}
	for part := range slices.Chunk(data, 1<<20) {
		first.Data = part
		if err := stream.Send(first); err != nil {
			return err
		}
		first = &hubv1.DownloadImageResponse{}
	}
	return nil
}

// SetData makes an image active with this data.
func (h *Hub) SetData(id string, data []byte) {
	sum := sha512.Sum512(data)
	h.Change(func() {
		img := h.Images[id]
		img.Status, img.SizeBytes = hubv1.ImageStatus_IMAGE_STATUS_ACTIVE, int64(len(data))
		img.OsHashAlgo, img.OsHashValue = "sha512", hex.EncodeToString(sum[:])
		h.Data[id] = data
	})
}
