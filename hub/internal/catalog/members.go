package catalog

import (
	"cmp"
	"context"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// AddMember shares an image with a project, which has to accept it. Errors: NOT_SHARED (Denied) unless the image's
// visibility is shared, MEMBER_EXISTS, MEMBER_QUOTA.
func (c *Catalog) AddMember(ctx context.Context, id image.ID, project string) (*storev1.Member, error) {
	if project == "" || len(project) > maxOwner || !utf8.ValidString(project) {
		return nil, fault.BadField("member", "must be a project id of 1 to %d bytes", maxOwner)
	}
	var m *storev1.Member
	err := c.editMembers(ctx, id, func(img *storev1.Image) error {
		if img.Visibility != storev1.Visibility_VISIBILITY_SHARED && img.Visibility != storev1.Visibility_VISIBILITY_UNSPECIFIED {
			return fault.New(fault.Denied, "NOT_SHARED", "only images with visibility shared have members")
		}
		i, found := findMember(img, project)
		if found {
			return fault.New(fault.Exists, "MEMBER_EXISTS", "project %s is a member already", project)
		}
		if most := c.limits.Members; most > 0 && len(img.Members) >= most || len(img.Members) >= mostMembers {
			return fault.New(fault.Exhausted, "MEMBER_QUOTA", "the image has reached its limit of %d members", len(img.Members))
		}
		now := c.stamp()
		m = &storev1.Member{
			ProjectId: project, Status: storev1.MemberStatus_MEMBER_STATUS_PENDING, CreateTime: now, UpdateTime: now,
		}
		img.Members = slices.Insert(img.Members, i, m)
		return nil
	})
	return m, err
}

// SetMemberStatus records what a project says to an image that was shared with it. MEMBER_NOT_FOUND when it was not.
func (c *Catalog) SetMemberStatus(ctx context.Context, id image.ID, project string, status storev1.MemberStatus) (*storev1.Member, error) {
	if status == storev1.MemberStatus_MEMBER_STATUS_UNSPECIFIED {
		return nil, fault.BadField("status", "must be accepted, pending or rejected")
	}
	var m *storev1.Member
	err := c.editMembers(ctx, id, func(img *storev1.Image) error {
		i, found := findMember(img, project)
		if !found {
			return memberNotFound(project)
		}
		m = img.Members[i]
		if m.Status != status {
			m.Status, m.UpdateTime = status, c.stamp()
		}
		return nil
	})
	return m, err
}

// RemoveMember ends the sharing of an image with a project. MEMBER_NOT_FOUND when there was none.
func (c *Catalog) RemoveMember(ctx context.Context, id image.ID, project string) error {
	return c.editMembers(ctx, id, func(img *storev1.Image) error {
		i, found := findMember(img, project)
		if !found {
			return memberNotFound(project)
		}
		img.Members = slices.Delete(img.Members, i, i+1)
		return nil
	})
}

func memberNotFound(project string) error {
	return fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "project %s is not a member", clip(project))
}

// editMembers changes the members of an image. Its update time stays: sharing is not a change of the image.
func (c *Catalog) editMembers(ctx context.Context, id image.ID, edit func(*storev1.Image) error) error {
	return c.repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		img := proto.CloneOf(old)
		if err := edit(img); err != nil {
			return err
		}
		if proto.Equal(img, old) {
			return nil
		}
		return c.records.Commit(ctx, Write{Key: ImageKey(id), Value: img, Revision: rev})
	})
}

func findMember(img *storev1.Image, project string) (int, bool) {
	return slices.BinarySearchFunc(img.Members, project, func(m *storev1.Member, p string) int { return cmp.Compare(m.ProjectId, p) })
}
