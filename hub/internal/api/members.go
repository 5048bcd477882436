package api

import (
	"cmp"
	"context"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func (s *images) AddMember(ctx context.Context, req *hubv1.AddMemberRequest) (*hubv1.AddMemberResponse, error) {
	img, err := s.shared(ctx, req.GetImageId(), "add_member")
	if err != nil {
		return nil, err
	}
	m, err := s.Catalog.AddMember(ctx, img.ID, req.GetProjectId())
	if err != nil {
		return nil, err
	}
	return &hubv1.AddMemberResponse{Member: memberMessage(m)}, nil
}

func (s *images) ListMembers(ctx context.Context, req *hubv1.ListMembersRequest) (*hubv1.ListMembersResponse, error) {
	img, err := s.shared(ctx, req.GetImageId(), "get_members")
	if err != nil {
		return nil, err
	}
	c := auth.From(ctx)
	all := s.admin(c) || img.Owner == c.ProjectID
	r, _ := s.read().Image(img.ID)
	out := &hubv1.ListMembersResponse{}
	for _, m := range r.GetMembers() {
		if all || m.ProjectId == c.ProjectID {
			out.Members = append(out.Members, memberMessage(m))
		}
	}
	return out, nil
}

func (s *images) UpdateMember(ctx context.Context, req *hubv1.UpdateMemberRequest) (*hubv1.UpdateMemberResponse, error) {
	if _, ok := memberStatusNames[req.GetStatus()]; !ok {
		return nil, fault.BadField("status", "must be pending, accepted or rejected")
	}
	img, err := s.shared(ctx, req.GetImageId(), "modify_member")
	if err != nil {
		return nil, err
	}
	c := auth.From(ctx)
	project := cmp.Or(req.GetProjectId(), c.ProjectID)
	if project != c.ProjectID && !s.admin(c) {
		return nil, fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "project %q is not a member", clip(project))
	}
	// The numbers are the same, see TestEnumsAgree.
	m, err := s.Catalog.SetMemberStatus(ctx, img.ID, project, storev1.MemberStatus(req.GetStatus()))
	if err != nil {
		return nil, err
	}
	return &hubv1.UpdateMemberResponse{Member: memberMessage(m)}, nil
}

func (s *images) RemoveMember(ctx context.Context, req *hubv1.RemoveMemberRequest) (*hubv1.RemoveMemberResponse, error) {
	img, err := s.shared(ctx, req.GetImageId(), "delete_member")
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.RemoveMember(ctx, img.ID, req.GetProjectId()); err != nil {
		return nil, err
	}
	return &hubv1.RemoveMemberResponse{}, nil
}

// shared returns an image that has members and that the caller may apply the rule to.
func (s *images) shared(ctx context.Context, id, rule string) (*imageapi.Image, error) {
	img, err := s.find(ctx, "image_id", id, rule)
	if err != nil {
		return nil, err
	}
	if img.Visibility != imageapi.Shared {
		return nil, fault.New(fault.Denied, "NOT_SHARED", "only images with visibility shared have members")
	}
	return img, nil
}

func memberMessage(m *storev1.Member) *hubv1.Member {
	return &hubv1.Member{
		ProjectId: m.ProjectId, Status: hubv1.MemberStatus(m.Status), CreateTime: m.CreateTime, UpdateTime: m.UpdateTime,
	}
}
