package glance

import (
	"encoding/json"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
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
	return s.writeMember(w, r, img, func() (*storev1.Member, error) {
		return s.Catalog.AddMember(r.Context(), img.ID, project)
	})
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
	return s.writeMember(w, r, img, func() (*storev1.Member, error) {
		return s.Catalog.SetMemberStatus(r.Context(), img.ID, project, status)
	})
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
	err = s.turns.do(r.Context(), img.ID, func() error {
		return s.Catalog.RemoveMember(r.Context(), img.ID, r.PathValue("member"))
	})
	if err != nil {
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

// writeMember changes a member and answers with it.
func (s *Server) writeMember(w http.ResponseWriter, r *http.Request, img *imageapi.Image, change func() (*storev1.Member, error)) error {
	var changed *storev1.Member
	err := s.turns.do(r.Context(), img.ID, func() (err error) {
		changed, err = change()
		return err
	})
	if err != nil {
		return err
	}
	return imageapi.WriteJSON(w, http.StatusOK, member(changed).View(img))
}
