package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// memberStatusNames are the words of the Image API for what a project says to an image.
var memberStatusNames = map[hubv1.MemberStatus]string{
	hubv1.MemberStatus_MEMBER_STATUS_UNSPECIFIED: "accepted",
	hubv1.MemberStatus_MEMBER_STATUS_PENDING:     "pending",
	hubv1.MemberStatus_MEMBER_STATUS_ACCEPTED:    "accepted",
	hubv1.MemberStatus_MEMBER_STATUS_REJECTED:    "rejected",
}

func (s *images) ListImages(ctx context.Context, req *hubv1.ListImagesRequest) (*hubv1.ListImagesResponse, error) {
	c := auth.From(ctx)
	if err := s.require(c, "get_images", ownProject(c)); err != nil {
		return nil, err
	}
	f, err := s.filter(c, req)
	if err != nil {
		return nil, err
	}
	found, next, err := s.imagePage(f, listName(req), req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &hubv1.ListImagesResponse{NextPageToken: next}
	for _, img := range found {
		if m, err := s.image(c, img.ID); err == nil { // else it has gone meanwhile
			out.Images = append(out.Images, m)
		}
	}
	return out, nil
}

// imagePage returns the images of one page and the token of the next. It looks only at those that come after the last one
// seen, and at no more than the page needs.
func (s *images) imagePage(f imageFilter, list string, size int32, pageToken string) ([]*imageapi.Image, string, error) {
	n, err := pageSize(size)
	if err != nil {
		return nil, "", err
	}
	last, err := openToken(list, pageToken)
	if err != nil {
		return nil, "", err
	}
	var seen *imageapi.Image
	if pageToken != "" {
		if seen, err = imageOfKey(last); err != nil {
			return nil, "", err
		}
	}
	var found []*imageapi.Image
	for img := range s.Images.Images().After(seen) {
		if !f.wants(img) {
			continue
		}
		if len(found) == n {
			next, err := newToken(list, imageKey(found[n-1]))
			return found, next, err
		}
		found = append(found, img)
	}
	return found, "", nil
}

// imageKey is the place of an image in lists.
func imageKey(img *imageapi.Image) string {
	return fmt.Sprintf("%d/%s", img.CreatedAt.UnixNano(), img.ID)
}

// imageOfKey returns an image with the place in lists that a key stands for.
func imageOfKey(key string) (*imageapi.Image, error) {
	created, id, ok := strings.Cut(key, "/")
	nanos, err := strconv.ParseInt(created, 10, 64)
	if err != nil || !ok {
		return nil, badToken()
	}
	return &imageapi.Image{ID: image.ID(id), CreatedAt: time.Unix(0, nanos)}, nil
}

// listName names a list with its filters for page tokens.
func listName(req *hubv1.ListImagesRequest) string {
	filters := proto.CloneOf(req)
	filters.PageSize, filters.PageToken = 0, ""
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(filters)
	if err != nil {
		return "images"
	}
	return fmt.Sprintf("images/%x", sha256.Sum256(text))
}

// imageFilter is one list of images of one caller.
type imageFilter struct {
	*view
	caller     *auth.Caller
	admin      bool
	req        *hubv1.ListImagesRequest
	visibility imageapi.Visibility // empty: what is in a list by itself
	said       string              // what the caller has said to images shared with it
}

func (s *images) filter(c *auth.Caller, req *hubv1.ListImagesRequest) (imageFilter, error) {
	f := imageFilter{view: s.view, caller: c, admin: s.admin(c), req: req}
	if req.GetVisibility() != hubv1.Visibility_VISIBILITY_UNSPECIFIED {
		v, err := parseVisibility("visibility", req.GetVisibility())
		if err != nil {
			return f, err
		}
		f.visibility = imageapi.Visibility(catalog.VisibilityWord(v))
	}
	var ok bool
	if f.said, ok = memberStatusNames[req.GetMemberStatus()]; !ok {
		return f, fault.BadField("member_status", "must be pending, accepted or rejected")
	}
	return f, nil
}

// wants reports whether an image is in the list, cheap tests first.
func (f *imageFilter) wants(img *imageapi.Image) bool {
	switch {
	case img.Hidden && !f.req.GetIncludeHidden(),
		f.req.GetName() != "" && img.Name != f.req.GetName(),
		f.req.GetOwner() != "" && img.Owner != f.req.GetOwner(),
		f.visibility != "" && img.Visibility != f.visibility:
		return false
	}
	for _, t := range f.req.GetTags() {
		if !slices.Contains(img.Tags, t) {
			return false
		}
	}
	return f.lists(img) && f.hasStatus(img) && f.sees(f.caller, img)
}

func (f *imageFilter) hasStatus(img *imageapi.Image) bool {
	if f.req.GetStatus() == hubv1.ImageStatus_IMAGE_STATUS_UNSPECIFIED {
		return true
	}
	r, _ := f.read().Image(img.ID)
	return visible(r) && hubv1.ImageStatus(r.Status) == f.req.GetStatus()
}

// lists reports whether an image that the caller may see belongs into its lists: community images of others have to be asked
// for, shared ones have to be accepted.
func (f *imageFilter) lists(img *imageapi.Image) bool {
	own := f.caller != nil && img.Owner != "" && img.Owner == f.caller.ProjectID
	switch {
	case own:
		return true
	case img.Visibility == imageapi.Public:
		return true
	case img.Visibility == imageapi.Community:
		return f.visibility == imageapi.Community
	case f.admin:
		return true
	case img.Visibility == imageapi.Shared && f.caller != nil:
		return slices.ContainsFunc(img.Members, func(m imageapi.Member) bool {
			return m.ProjectID == f.caller.ProjectID && m.Status == f.said
		})
	default:
		return false
	}
}
