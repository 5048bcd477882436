package imageapi

import (
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// MemberView is a member as answers show it.
type MemberView struct {
	MemberID  string `json:"member_id"`
	ImageID   string `json:"image_id"`
	Status    string `json:"status"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	Schema    string `json:"schema"`
}

// View returns the member as answers show it.
func (m Member) View(img *Image) MemberView {
	return MemberView{
		MemberID: m.ProjectID, ImageID: string(img.ID), Status: m.Status,
		CreatedAt: m.CreatedAt.UTC().Format(timestamp), UpdatedAt: m.UpdatedAt.UTC().Format(timestamp), Schema: "/v2/schemas/member",
	}
}

// listMembers answers with the members of an image: all of them for those who may change it, only itself for a member.
func (rd *Reads) listMembers(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	img, c, err := rd.Find(r, "get_image")
	if err != nil {
		return err
	}
	if img.Visibility != Shared {
		return fault.New(fault.Denied, "NOT_SHARED", "Only shared images have members.")
	}
	if !rd.Policy.Allowed(c, "get_members", img.Target(c)) {
		return denied("get_members")
	}
	views := []MemberView{}
	for _, m := range img.Members {
		if rd.seesMember(c, img, m.ProjectID) {
			views = append(views, m.View(img))
		}
	}
	return WriteJSON(w, http.StatusOK, map[string]any{"members": views, "schema": "/v2/schemas/members"})
}

// seesMember reports whether the caller may know that the image is shared with the project.
func (rd *Reads) seesMember(c *auth.Caller, img *Image, project string) bool {
	if !owns(img, c) && (c == nil || c.ProjectID != project) && !rd.admin(c) {
		return false
	}
	return rd.Policy.Allowed(c, "get_member", img.memberTarget(project))
}

// showMember answers with one member. What is forbidden is not found.
func (rd *Reads) showMember(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	img, c, err := rd.Find(r, "get_image")
	if err != nil {
		return err
	}
	project := r.PathValue("member")
	for _, m := range img.Members {
		if img.Visibility == Shared && m.ProjectID == project && rd.seesMember(c, img, project) {
			return WriteJSON(w, http.StatusOK, m.View(img))
		}
	}
	return fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "%s not found in the member list of the image %s.", clip(project), img.ID)
}
