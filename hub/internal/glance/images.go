package glance

import (
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// imageRoutes adds what changes images without moving data.
func (s *Server) imageRoutes(rt *imageapi.Router) {
	rt.Handle(http.MethodPost, "/v2/images", s.createImage)
	rt.Handle(http.MethodPatch, "/v2/images/{id}", s.patchImage)
	rt.Handle(http.MethodPost, "/v2/images/{id}/actions/deactivate", s.deactivate)
	rt.Handle(http.MethodPost, "/v2/images/{id}/actions/reactivate", s.reactivate)
	rt.Handle(http.MethodPut, "/v2/images/{id}/tags/{tag}", s.addTag)
	rt.Handle(http.MethodDelete, "/v2/images/{id}/tags/{tag}", s.removeTag)
	rt.Handle(http.MethodPost, "/v2/images/{id}/members", s.addMember)
	rt.Handle(http.MethodPut, "/v2/images/{id}/members/{member}", s.answerMember)
	rt.Handle(http.MethodDelete, "/v2/images/{id}/members/{member}", s.removeMember)
}

// admin reports whether the caller may do what only administrators may.
func (s *Server) admin(c *auth.Caller) bool { return s.Policy.Allowed(c, "context_is_admin", nil) }

// edit changes the record of an image for a caller whom the rule allows it, judged by the record as it is changed: if it
// changes hands between the look at it and the change, the new owner's rights count. change may run several times.
func (s *Server) edit(r *http.Request, c *auth.Caller, id image.ID, rule string, change func(*storev1.Image) error) error {
	return s.turns.do(r.Context(), id, func() error {
		return s.Catalog.EditImage(r.Context(), id, 0, func(record *storev1.Image) error {
			if err := s.reads.Authorize(c, present(s.Catalog, record, 0), rule); err != nil {
				return err
			}
			return change(record)
		})
	})
}
