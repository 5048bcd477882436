package glance

import (
	"encoding/json"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// addMember shares an image with a project, which sees it in its lists once it has accepted.
func (s *Server) addMember(w http.ResponseWriter, r *http.Request) error {
	project, err := memberField(r, "member")
	if err != nil {
		return err
	}
	img, _, err := s.sharedImage(r, "add_member")
	if err != nil {
		return err
	}
	m, err := s.Catalog.AddMember(r.Context(), img.ID, project)
	if err != nil {
		return err
	}
	return writeMember(w, img.ID, member(m))
}

// answerMember records what a project says to an image that was shared with it. Only the project itself may, and
// administrators.
func (s *Server) answerMember(w http.ResponseWriter, r *http.Request) error {
	name, err := memberField(r, "status")
	if err != nil {
		return err
	}
	status, ok := memberStatuses[name]
	if !ok {
		return fault.BadField("status", "must be accepted, pending or rejected")
	}
	img, c, err := s.sharedImage(r, "modify_member")
	if err != nil {
		return err
	}
	project := r.PathValue("member")
	if c.ProjectID != project && !s.admin(c) {
		return fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "no such member")
	}
	m, err := s.Catalog.SetMemberStatus(r.Context(), img.ID, project, status)
	if err != nil {
		return err
	}
	return writeMember(w, img.ID, member(m))
}

// removeMember ends the sharing of an image with a project.
func (s *Server) removeMember(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, _, err := s.sharedImage(r, "delete_member")
	if err != nil {
		return err
	}
	if err := s.Catalog.RemoveMember(r.Context(), img.ID, r.PathValue("member")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sharedImage finds an image that has members and that the caller may apply the rule to.
func (s *Server) sharedImage(r *http.Request, rule string) (*imageapi.Image, *auth.Caller, error) {
	img, c, err := s.reads.Find(r, rule)
	if err == nil && img.Visibility != imageapi.Shared {
		err = fault.New(fault.Denied, "NOT_SHARED", "Only shared images have members.")
	}
	return img, c, err
}

// memberField reads a body with one string in it.
func memberField(r *http.Request, field string) (string, error) {
	var body map[string]json.RawMessage
	if err := imageapi.ReadJSON(r, imageapi.MaxJSON, &body); err != nil {
		return "", err
	}
	s, err := text(field, body[field])
	if err == nil && s == "" {
		err = fault.BadField(field, "must not be empty")
	}
	return s, err
}

// writeMember answers with a member.
func writeMember(w http.ResponseWriter, id image.ID, m imageapi.Member) error {
	const timestamp = "2006-01-02T15:04:05Z"
	return imageapi.WriteJSON(w, http.StatusOK, struct {
		MemberID  string `json:"member_id"`
		ImageID   string `json:"image_id"`
		Status    string `json:"status"`
		CreatedAt string `json:"created_at"`
		UpdatedAt string `json:"updated_at"`
		Schema    string `json:"schema"`
	}{
		m.ProjectID, string(id), m.Status, m.CreatedAt.UTC().Format(timestamp), m.UpdatedAt.UTC().Format(timestamp), "/v2/schemas/member",
	})
}
