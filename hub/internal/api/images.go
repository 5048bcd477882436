package api

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// images implements atoll.hub.v1.ImageService.
type images struct {
	hubv1.UnimplementedImageServiceServer
	*view
}

func (s *images) GetImage(ctx context.Context, req *hubv1.GetImageRequest) (*hubv1.GetImageResponse, error) {
	img, err := s.find(ctx, "id", req.GetId(), "get_image")
	if err != nil {
		return nil, err
	}
	m, err := s.image(auth.From(ctx), img.ID)
	return &hubv1.GetImageResponse{Image: m}, err
}

func (s *images) DeleteImage(ctx context.Context, req *hubv1.DeleteImageRequest) (*hubv1.DeleteImageResponse, error) {
	img, err := s.find(ctx, "id", req.GetId(), "delete_image")
	if err != nil {
		return nil, err
	}
	op, err := s.Catalog.DeleteImage(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	return &hubv1.DeleteImageResponse{Operation: s.operationMessage(auth.From(ctx), op)}, nil
}

func (s *images) DeactivateImage(ctx context.Context, req *hubv1.DeactivateImageRequest) (*hubv1.DeactivateImageResponse, error) {
	m, err := s.setDeactivated(ctx, req.GetId(), "deactivate", true)
	return &hubv1.DeactivateImageResponse{Image: m}, err
}

func (s *images) ReactivateImage(ctx context.Context, req *hubv1.ReactivateImageRequest) (*hubv1.ReactivateImageResponse, error) {
	m, err := s.setDeactivated(ctx, req.GetId(), "reactivate", false)
	return &hubv1.ReactivateImageResponse{Image: m}, err
}

func (s *images) setDeactivated(ctx context.Context, id, rule string, deactivated bool) (*hubv1.Image, error) {
	img, err := s.find(ctx, "id", id, rule)
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.SetDeactivated(ctx, img.ID, deactivated); err != nil {
		return nil, err
	}
	return s.image(auth.From(ctx), img.ID)
}

// image returns an image as the caller sees it now.
func (v *view) image(c *auth.Caller, id image.ID) (*hubv1.Image, error) {
	img, rev := v.read().Image(id)
	if !visible(img) {
		return nil, noImage(id)
	}
	return v.imageMessage(c, img, rev), nil
}
