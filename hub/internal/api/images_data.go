package api

import (
	"context"

	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func (s *images) ImportImage(ctx context.Context, req *hubv1.ImportImageRequest) (*hubv1.ImportImageResponse, error) {
	img, err := s.find(ctx, "id", req.GetId(), "modify_image")
	if err != nil {
		return nil, err
	}
	sum, err := image.ParseChecksum("checksum", req.GetChecksum())
	if err != nil {
		return nil, err
	}
	in := catalog.Import{
		Image: img.ID, Checksum: sum, Target: target(req.GetTarget()), URI: req.GetUri(), FromStaged: req.GetStaged(),
		KeepFormat: req.GetKeepFormat(),
	}
	var op *storev1.Operation
	switch {
	case in.FromStaged && in.URI != "":
		return nil, fault.BadField("uri", "must be empty when staged data is imported")
	case in.FromStaged && req.GetChecksum() != "":
		return nil, fault.BadField("checksum", "must be empty when staged data is imported")
	case in.FromStaged:
		op, err = s.Importer.ImportStaged(ctx, in)
	default:
		op, err = s.Importer.Fetch(ctx, in)
	}
	if err != nil {
		return nil, err
	}
	return &hubv1.ImportImageResponse{Operation: s.operationMessage(auth.From(ctx), op)}, nil
}

func (s *images) UploadImage(stream grpc.ClientStreamingServer[hubv1.UploadImageRequest, hubv1.UploadImageResponse]) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	h := first.GetHeader()
	in, err := s.arriving(ctx, h, "upload_image")
	if err != nil {
		return err
	}
	in.Target, in.KeepFormat = target(h.GetTarget()), h.GetKeepFormat()
	op, err := s.Importer.Upload(ctx, in, func() ([]byte, error) {
		msg, err := stream.Recv()
		return part(msg.GetData(), msg.GetHeader() != nil, err)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&hubv1.UploadImageResponse{Operation: s.operationMessage(auth.From(ctx), op)})
}

func (s *images) StageImage(stream grpc.ClientStreamingServer[hubv1.StageImageRequest, hubv1.StageImageResponse]) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	in, err := s.arriving(ctx, first.GetHeader(), "modify_image")
	if err != nil {
		return err
	}
	_, err = s.Importer.StageMessages(ctx, in, func() ([]byte, error) {
		msg, err := stream.Recv()
		return part(msg.GetData(), msg.GetHeader() != nil, err)
	})
	if err != nil {
		return err
	}
	m, err := s.image(auth.From(ctx), in.Image)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&hubv1.StageImageResponse{Image: m})
}

// header is the first message of data that arrives.
type header interface {
	GetId() string // empty also for a nil message
	GetSizeBytes() int64
}

// arriving returns the request that a header makes, if the caller may apply the rule to the image.
func (v *view) arriving(ctx context.Context, h header, rule string) (catalog.Import, error) {
	if h.GetId() == "" {
		return catalog.Import{}, fault.BadField("header", "must be the first message, with the id of an image")
	}
	img, err := v.find(ctx, "header.id", h.GetId(), rule)
	if err != nil {
		return catalog.Import{}, err
	}
	if h.GetSizeBytes() < 0 {
		return catalog.Import{}, fault.BadField("header.size_bytes", "%d is negative", h.GetSizeBytes())
	}
	return catalog.Import{Image: img.ID, SizeBytes: h.GetSizeBytes()}, nil
}

// part returns the data of a message that is not the first one.
func part(data []byte, header bool, err error) ([]byte, error) {
	if err == nil && header {
		err = fault.BadField("header", "must be sent once")
	}
	return data, err
}

func target(sel *hubv1.StoreSelection) catalog.Target {
	return catalog.Target{Stores: sel.GetStores(), All: sel.GetAllStores(), AllMustSucceed: sel.GetAllMustSucceed()}
}
