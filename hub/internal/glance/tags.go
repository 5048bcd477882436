package glance

import (
	"net/http"
	"slices"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// addTag adds a tag to an image. A tag that it has already stays.
func (s *Server) addTag(w http.ResponseWriter, r *http.Request) error {
	return s.editTags(w, r, func(img *storev1.Image, tag string) error {
		if err := checkTag(tag); err != nil {
			return err
		}
		if !slices.Contains(img.Tags, tag) {
			img.Tags = append(img.Tags, tag)
		}
		return nil
	})
}

// removeTag removes a tag from an image.
func (s *Server) removeTag(w http.ResponseWriter, r *http.Request) error {
	return s.editTags(w, r, func(img *storev1.Image, tag string) error {
		i := slices.Index(img.Tags, tag)
		if i < 0 {
			return fault.New(fault.NotFound, "TAG_NOT_FOUND", "the image has no such tag")
		}
		img.Tags = slices.Delete(img.Tags, i, i+1)
		return nil
	})
}

func (s *Server) editTags(w http.ResponseWriter, r *http.Request, change func(img *storev1.Image, tag string) error) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, c, err := s.reads.Find(r, "modify_image")
	if err != nil {
		return err
	}
	err = s.edit(r, c, img.ID, "modify_image", func(record *storev1.Image) error {
		return change(record, r.PathValue("tag"))
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
