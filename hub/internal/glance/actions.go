package glance

import (
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// deactivate forbids all but administrators to read the data of an image. Repeating it changes nothing.
func (s *Server) deactivate(w http.ResponseWriter, r *http.Request) error {
	return s.setDeactivated(w, r, "deactivate", true)
}

// reactivate ends a deactivation. Repeating it changes nothing.
func (s *Server) reactivate(w http.ResponseWriter, r *http.Request) error {
	return s.setDeactivated(w, r, "reactivate", false)
}

func (s *Server) setDeactivated(w http.ResponseWriter, r *http.Request, rule string, deactivated bool) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, _, err := s.reads.Find(r, rule)
	if err != nil {
		return err
	}
	err = s.turns.do(r.Context(), img.ID, func() error {
		return s.Catalog.SetDeactivated(r.Context(), img.ID, deactivated)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
