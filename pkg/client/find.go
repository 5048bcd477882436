package client

import (
	"context"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// FindImage returns the image with this UUID or, if it is no UUID, the only image with this name, hidden or not, that the
// caller's lists have. NotFound when there is
// none; Invalid with reason AMBIGUOUS_NAME and the UUIDs when there are several.
func (c *Client) FindImage(ctx context.Context, idOrName string) (*hubv1.Image, error) {
	if idOrName == "" {
		return nil, fault.BadField("image", "the name is empty")
	}
	if id, err := image.ParseID("image", strings.ToLower(idOrName)); err == nil {
		res, err := c.Images.GetImage(ctx, &hubv1.GetImageRequest{Id: string(id)})
		return res.GetImage(), err
	}
	const most = 5
	var found []*hubv1.Image
	for img, err := range c.AllImages(ctx, &hubv1.ListImagesRequest{Name: idOrName, IncludeHidden: true}) {
		if err != nil {
			return nil, err
		}
		if found = append(found, img); len(found) > most {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "there is no image named %q", idOrName)
	case 1:
		return found[0], nil
	}
	ids := make([]string, 0, most+1)
	for _, img := range found[:min(len(found), most)] {
		ids = append(ids, img.GetId())
	}
	if len(found) > most {
		ids = append(ids, "...")
	}
	return nil, fault.New(fault.Invalid, "AMBIGUOUS_NAME", "several images are named %q, use the id: %s",
		idOrName, strings.Join(ids, ", "))
}

// CentralStore returns the hub's central store. Precondition with reason NO_CENTRAL_STORE when none has registered.
func (c *Client) CentralStore(ctx context.Context) (*hubv1.Store, error) {
	for s, err := range c.AllStores(ctx) {
		if err != nil {
			return nil, err
		}
		if s.GetCentral() {
			return s, nil
		}
	}
	return nil, fault.New(fault.Precondition, "NO_CENTRAL_STORE",
		"the hub knows no central store; start the agent of the central site first")
}
