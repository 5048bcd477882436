package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// images implements atoll.hub.v1.ImageService.
type images struct {
	hubv1.UnimplementedImageServiceServer
	*view
}

func (s *images) CreateImage(ctx context.Context, req *hubv1.CreateImageRequest) (*hubv1.CreateImageResponse, error) {
	in := req.GetImage()
	n := catalog.NewImage{
		Name: in.GetName(), DiskFormat: cmp.Or(in.GetDiskFormat(), "raw"), ContainerFormat: cmp.Or(in.GetContainerFormat(), "bare"),
		Properties: in.GetProperties(), Protected: in.GetProtected(),
	}
	if in.GetId() != "" {
		id, err := image.ParseID("image.id", in.GetId())
		if err != nil {
			return nil, err
		}
		n.ID = id
	}
	img, err := s.Catalog.CreateImage(ctx, n)
	if err != nil {
		return nil, err
	}
	m, err := s.image("image.id", img.Id)
	return &hubv1.CreateImageResponse{Image: m}, err
}

func (s *images) GetImage(_ context.Context, req *hubv1.GetImageRequest) (*hubv1.GetImageResponse, error) {
	m, err := s.image("id", req.GetId())
	return &hubv1.GetImageResponse{Image: m}, err
}

func (s *images) ListImages(_ context.Context, req *hubv1.ListImagesRequest) (*hubv1.ListImagesResponse, error) {
	all := slices.DeleteFunc(s.read().Images(), func(i *storev1.Image) bool {
		return !visible(i) || req.GetName() != "" && i.Name != req.GetName()
	})
	key := func(i *storev1.Image) string { return fmt.Sprintf("%020d/%s", i.CreateTime.AsTime().UnixNano(), i.Id) }
	found, next, err := page(all, key, true, "images/"+req.GetName(), req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &hubv1.ListImagesResponse{NextPageToken: next}
	for _, i := range found {
		if img, rev := s.read().Image(image.ID(i.Id)); visible(img) {
			out.Images = append(out.Images, s.imageMessage(img, rev))
		}
	}
	return out, nil
}

func (s *images) UpdateImage(ctx context.Context, req *hubv1.UpdateImageRequest) (*hubv1.UpdateImageResponse, error) {
	in := req.GetImage()
	id, err := image.ParseID("image.id", in.GetId())
	if err != nil {
		return nil, err
	}
	var rev int64
	if in.GetEtag() != "" {
		if rev, err = strconv.ParseInt(in.GetEtag(), 36, 64); err != nil {
			return nil, fault.BadField("image.etag", "%q is not an etag of an image", in.GetEtag())
		}
	}
	change, err := imageChange(in, req.GetUpdateMask().GetPaths())
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.EditImage(ctx, id, rev, change); err != nil {
		return nil, err
	}
	m, err := s.image("image.id", in.GetId())
	return &hubv1.UpdateImageResponse{Image: m}, err
}

// imageChange applies the fields the mask names; without a mask those that are set.
func imageChange(in *hubv1.Image, paths []string) (func(*storev1.Image) error, error) {
	if len(paths) == 0 {
		if in.GetName() != "" {
			paths = append(paths, "name")
		}
		if in.GetProtected() {
			paths = append(paths, "protected")
		}
		if len(in.GetProperties()) > 0 {
			paths = append(paths, "properties")
		}
	}
	for _, p := range paths {
		if p != "name" && p != "protected" && p != "properties" {
			return nil, fault.BadField("update_mask", "%q cannot be updated; use name, protected or properties", p)
		}
	}
	return func(img *storev1.Image) error {
		for _, p := range paths {
			switch p {
			case "name":
				img.Name = in.GetName()
			case "protected":
				img.Protected = in.GetProtected()
			case "properties":
				img.Properties = in.GetProperties()
			}
		}
		return nil
	}, nil
}

func (s *images) DeleteImage(ctx context.Context, req *hubv1.DeleteImageRequest) (*hubv1.DeleteImageResponse, error) {
	id, err := image.ParseID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	op, err := s.Catalog.DeleteImage(ctx, id)
	if err != nil {
		return nil, err
	}
	return &hubv1.DeleteImageResponse{Operation: s.operationMessage(op)}, nil
}

func (s *images) ImportImage(ctx context.Context, req *hubv1.ImportImageRequest) (*hubv1.ImportImageResponse, error) {
	in, err := importRequest(req.GetId(), req.GetTarget())
	if err != nil {
		return nil, err
	}
	in.URI = req.GetUri()
	op, err := s.Importer.Fetch(ctx, in)
	if err != nil {
		return nil, err
	}
	return &hubv1.ImportImageResponse{Operation: s.operationMessage(op)}, nil
}

func (s *images) UploadImage(stream grpc.ClientStreamingServer[hubv1.UploadImageRequest, hubv1.UploadImageResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	h := first.GetHeader()
	if h == nil {
		return fault.BadField("header", "must be the first message of an upload")
	}
	in, err := importRequest(h.GetId(), h.GetTarget())
	if err != nil {
		return err
	}
	if in.SizeBytes = h.GetSizeBytes(); in.SizeBytes < 0 {
		return fault.BadField("header.size_bytes", "%d is negative", in.SizeBytes)
	}
	op, err := s.Importer.Upload(stream.Context(), in, func() ([]byte, error) {
		msg, err := stream.Recv()
		if err == nil && msg.GetHeader() != nil {
			err = fault.BadField("header", "must be sent once")
		}
		return msg.GetData(), err
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&hubv1.UploadImageResponse{Operation: s.operationMessage(op)})
}

func importRequest(id string, sel *hubv1.StoreSelection) (catalog.Import, error) {
	img, err := image.ParseID("id", id)
	return catalog.Import{Image: img, Target: target(sel)}, err
}

func target(sel *hubv1.StoreSelection) catalog.Target {
	return catalog.Target{Stores: sel.GetStores(), All: sel.GetAllStores(), AllMustSucceed: sel.GetAllMustSucceed()}
}
