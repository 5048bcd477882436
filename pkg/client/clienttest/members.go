package clienttest

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Project is the project of every caller of the fake hub.
const Project = "p-own"

// editMembers changes the members of an image.
func (h *Hub) editMembers(id string, f func(members []*hubv1.Member) ([]*hubv1.Member, error)) (err error) {
	h.Change(func() {
		if _, err = h.image(id); err == nil {
			h.Members[id], err = f(h.Members[id])
		}
	})
	return err
}

func findMember(members []*hubv1.Member, project string) int {
	return slices.IndexFunc(members, func(m *hubv1.Member) bool { return m.GetProjectId() == project })
}

// AddMember implements the service.
func (s images) AddMember(_ context.Context, req *hubv1.AddMemberRequest) (*hubv1.AddMemberResponse, error) {
	m := &hubv1.Member{
		ProjectId: req.GetProjectId(), Status: hubv1.MemberStatus_MEMBER_STATUS_PENDING,
		CreateTime: timestamppb.New(Now()), UpdateTime: timestamppb.New(Now()),
	}
	err := s.h.editMembers(req.GetImageId(), func(members []*hubv1.Member) ([]*hubv1.Member, error) {
		if findMember(members, req.GetProjectId()) >= 0 {
			return members, fault.New(fault.Exists, "MEMBER_EXISTS", "project %s is a member already", req.GetProjectId())
		}
		return append(members, m), nil
	})
	if err != nil {
		return nil, err
	}
	return &hubv1.AddMemberResponse{Member: m}, nil
}

// ListMembers implements the service; the order is that in which they were added.
func (s images) ListMembers(_ context.Context, req *hubv1.ListMembersRequest) (*hubv1.ListMembersResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	res := &hubv1.ListMembersResponse{}
	for _, m := range s.h.Members[req.GetImageId()] {
		res.Members = append(res.Members, proto.CloneOf(m))
	}
	return res, nil
}

// UpdateMember implements the service.
func (s images) UpdateMember(_ context.Context, req *hubv1.UpdateMemberRequest) (*hubv1.UpdateMemberResponse, error) {
	project := req.GetProjectId()
	if project == "" {
		project = Project
	}
	var m *hubv1.Member
	err := s.h.editMembers(req.GetImageId(), func(members []*hubv1.Member) ([]*hubv1.Member, error) {
		i := findMember(members, project)
		if i < 0 {
			return members, fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "project %s is not a member", project)
		}
		members[i].Status = req.GetStatus()
		m = proto.CloneOf(members[i])
		return members, nil
	})
	if err != nil {
		return nil, err
	}
	return &hubv1.UpdateMemberResponse{Member: m}, nil
}

// RemoveMember implements the service.
func (s images) RemoveMember(_ context.Context, req *hubv1.RemoveMemberRequest) (*hubv1.RemoveMemberResponse, error) {
	err := s.h.editMembers(req.GetImageId(), func(members []*hubv1.Member) ([]*hubv1.Member, error) {
		i := findMember(members, req.GetProjectId())
		if i < 0 {
			return members, fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "project %s is not a member", req.GetProjectId())
		}
		return slices.Delete(members, i, i+1), nil
	})
	if err != nil {
		return nil, err
	}
	return &hubv1.RemoveMemberResponse{}, nil
}
