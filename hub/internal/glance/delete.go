package glance

import (
	"context"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// deleteImage deletes an image from all its stores, or from none: it waits until every site that can be asked has said
// whether its copy may go, for DeleteWait at most. The answer is 204 when the delete is decided, 409 when a copy is in use
// and nothing has been touched, and 202 when it is not decided yet: the image is pending_delete then, and either goes or
// returns. Sites that are away, and stores whose cluster does not answer, are not waited for.
func (s *Server) deleteImage(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, _, err := s.reads.Find(r, "delete_image")
	if err != nil {
		return err
	}
	op, err := s.Catalog.DeleteImage(r.Context(), img.ID)
	if fault.ReasonOf(err) == "PROTECTED" {
		return imageapi.Status(err, http.StatusForbidden)
	}
	if err != nil {
		return err
	}
	var refused *storev1.OperationError
	decided := s.await(r.Context(), s.Settings.DeleteWait, func() (bool, int64) {
		record, _ := s.Catalog.Read().Image(img.ID)
		if gone(record) {
			return true, 0
		}
		if o, _ := s.Catalog.Read().Operation(image.ID(op.Id)); o.GetState() == storev1.OperationState_OPERATION_STATE_FAILED {
			refused = o.Error
			return true, 0
		}
		return false, 0
	})
	if o, _ := s.Catalog.Read().Operation(image.ID(op.Id)); !decided && o.GetUndoing() == storev1.OperationState_OPERATION_STATE_FAILED {
		decided, refused = true, o.Error // a site takes its time to put its copy back
	}
	return answerRemoval(w, decided, refused)
}

// deleteFromStore removes the copy in one store. A copy that is still being written is given up. It answers like
// deleteImage, and waits as long.
func (s *Server) deleteFromStore(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	for _, rule := range []string{"get_image_location", "delete_image_location"} {
		if _, _, err := s.reads.Find(r, rule); err != nil {
			return err
		}
	}
	id, err := imageapi.ParseID(r)
	if err != nil {
		return err
	}
	store := image.StoreID(r.PathValue("store"))
	if err := s.knownStore(string(store), http.StatusConflict); err != nil {
		return err
	}
	if img := s.Index.Image(id); img == nil || img.Status != imageapi.Active && img.Status != imageapi.Deactivated {
		return fault.New(fault.Precondition, "NOT_ACTIVE", "image %s is not active", id)
	}
	decided, refused, err := s.removeCopy(r.Context(), id, store)
	if err != nil {
		return err
	}
	return answerRemoval(w, decided, refused)
}

// removeCopy asks for the removal of a copy and waits until that is decided.
func (s *Server) removeCopy(ctx context.Context, id image.ID, store image.StoreID) (decided bool, refused *storev1.OperationError, err error) {
	op, err := s.Catalog.DeleteReplica(ctx, id, store)
	switch fault.ReasonOf(err) {
	case "LAST_COPY":
		return false, nil, imageapi.Status(err, http.StatusForbidden)
	case "BEING_DELETED": // for users it is not in the store any more
		return false, nil, imageapi.Status(err, http.StatusNotFound)
	}
	if err != nil {
		return false, nil, err
	}
	decided = s.await(ctx, s.Settings.DeleteWait, func() (bool, int64) {
		if copied, _ := s.Catalog.Read().Replica(id, store); copied.GetRemoval() == storev1.Removal_REMOVAL_DECIDED {
			return true, 0
		}
		o, _ := s.Catalog.Read().Operation(image.ID(op.Id))
		if o.GetState() == storev1.OperationState_OPERATION_STATE_FAILED {
			refused = o.Error
		}
		return o.GetState() != storev1.OperationState_OPERATION_STATE_RUNNING, 0
	})
	return decided, refused, nil
}

// answerRemoval answers a request to remove copies.
func answerRemoval(w http.ResponseWriter, decided bool, refused *storev1.OperationError) error {
	switch {
	case refused != nil:
		return fault.New(fault.Precondition, refused.Reason, "%s", refused.Message)
	case decided:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
	return nil
}
