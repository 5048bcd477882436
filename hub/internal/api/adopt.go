package api

import (
	"context"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func (s *images) AdoptLocation(ctx context.Context, req *hubv1.AdoptLocationRequest) (*hubv1.AdoptLocationResponse, error) {
	img, err := s.find(ctx, "id", req.GetId(), "add_image_location")
	if err != nil {
		return nil, err
	}
	// The rule lets owners add sources of other kinds. To say which data of a pool an image has is for services.
	c := auth.From(ctx)
	if !s.Policy.Allowed(c, ruleService, nil) {
		if err := s.require(c, ruleLocations, img.Target(c)); err != nil {
			return nil, err
		}
	}
	store, err := s.storeOf(img.ID, req.GetUrl())
	if err != nil {
		return nil, err
	}
	op, err := s.Catalog.Adopt(ctx, img.ID, store, expected(req.GetExpected()))
	if err != nil {
		return nil, err
	}
	return &hubv1.AdoptLocationResponse{Operation: s.operationMessage(c, op)}, nil
}

// storeOf returns the registered store in which the URL is the place of the image's copy.
func (s *images) storeOf(id image.ID, url string) (image.StoreID, error) {
	for _, st := range s.read().Stores() {
		if st.Driver == "ceph" && (image.Location{Driver: st.Driver, FSID: st.Fsid, Pool: st.Pool, Image: id}).URL() == url {
			return image.StoreID(st.Id), nil
		}
	}
	return "", fault.BadField("url", "must be rbd://FSID/POOL/%s/snap with the cluster and the pool of a registered store", id)
}

func expected(d *hubv1.DataDigest) *storev1.Expected {
	if d == nil {
		return nil
	}
	return &storev1.Expected{HashAlgo: d.GetAlgorithm(), HashValue: strings.ToLower(d.GetValue())}
}
