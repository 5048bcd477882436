package clienttest

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// StageImage implements the service.
func (s images) StageImage(stream grpc.ClientStreamingServer[hubv1.StageImageRequest, hubv1.StageImageResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	header := m.GetHeader()
	s.h.Change(func() {
		var img *hubv1.Image
		if img, err = s.h.image(header.GetId()); err == nil && img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
			err = fault.New(fault.Precondition, "NOT_QUEUED", "image %s has data already", header.GetId())
		}
	})
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
			s.h.Change(func() { s.h.Aborted[header.GetId()] = true })
			return err
		}
		data = append(data, m.GetData()...)
	}
	if n := header.GetSizeBytes(); n != 0 && n != int64(len(data)) {
		return fault.New(fault.Invalid, "SIZE_MISMATCH", "the upload has %d bytes, not %d", len(data), n)
	}
	res := &hubv1.StageImageResponse{}
	s.h.Change(func() {
		img := s.h.Images[header.GetId()]
		img.Status, img.SizeBytes = hubv1.ImageStatus_IMAGE_STATUS_UPLOADING, int64(len(data))
		s.h.Data[img.GetId()] = data
		res.Image = proto.CloneOf(img)
	})
	return stream.SendAndClose(res)
}

// AdoptLocation implements the service; the location is taken in the store whose id it holds.
func (s images) AdoptLocation(_ context.Context, req *hubv1.AdoptLocationRequest) (res *hubv1.AdoptLocationResponse, err error) {
	s.h.Change(func() {
		var img *hubv1.Image
		if img, err = s.h.image(req.GetId()); err != nil {
			return
		}
		for id, store := range s.h.Stores {
			if req.GetUrl() == "rbd://"+store.GetFsid()+"/"+store.GetPool()+"/"+img.GetId()+"/snap" {
				s.h.Adopted[img.GetId()] = proto.CloneOf(req)
				res = &hubv1.AdoptLocationResponse{Operation: s.h.begin(hubv1.OperationKind_OPERATION_KIND_ADOPT, img.GetId(), []string{id}, false)}
				return
			}
		}
		err = fault.BadField("url", "lies in no registered store")
	})
	return res, err
}

// DeactivateImage implements the service.
func (s images) DeactivateImage(_ context.Context, req *hubv1.DeactivateImageRequest) (*hubv1.DeactivateImageResponse, error) {
	img, err := s.deactivate(req.GetId(), true)
	return &hubv1.DeactivateImageResponse{Image: img}, err
}

// ReactivateImage implements the service.
func (s images) ReactivateImage(_ context.Context, req *hubv1.ReactivateImageRequest) (*hubv1.ReactivateImageResponse, error) {
	img, err := s.deactivate(req.GetId(), false)
	return &hubv1.ReactivateImageResponse{Image: img}, err
}

func (s images) deactivate(id string, deactivated bool) (out *hubv1.Image, err error) {
	s.h.Change(func() {
		var img *hubv1.Image
		if img, err = s.h.image(id); err != nil {
			return
		}
		if img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE {
			err = fault.New(fault.Denied, "NOT_ACTIVE", "image %s is not active", id)
			return
		}
		img.Deactivated = deactivated
		out = proto.CloneOf(img)
	})
	return out, err
}
