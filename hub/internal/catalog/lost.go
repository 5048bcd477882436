package catalog

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// ReasonStagedLost is the reason of a stage or an import whose data went away with the hub that had it.
const ReasonStagedLost = "STAGED_LOST"

// Recover settles what a staging area means that does not hold all that the records say, such as that of another hub than
// the one that wrote them: data that no store holds either is gone. A fetch whose URL is known is one that is still to
// run; other imports have failed and are undone; an image whose data was staged is queued again. has reports whether the
// area has all of a content. It returns how many images have lost data. Call it before anything else uses the area.
func (c *Catalog) Recover(ctx context.Context, has func(content image.ID) bool) (lost int, err error) {
	for _, img := range c.records.Images() {
		changed := false
		err := c.repeat(ctx, func() error {
			writes := c.recoverImage(image.ID(img.Id), has)
			changed = len(writes) > 0
			if !changed {
				return nil
			}
			return c.records.Commit(ctx, writes...)
		})
		if err != nil {
			return lost, err
		}
		if changed {
			lost++
		}
	}
	return lost, nil
}

// recoverImage returns what has to be written because the data of an image is gone; nil when it is not.
func (c *Catalog) recoverImage(id image.ID, has func(image.ID) bool) []Write {
	old, rev := c.records.Image(id)
	if old == nil || !c.onlyStaged(old) {
		return nil
	}
	gone := func(content *storev1.Content) bool { return content.GetComplete() && !has(image.ID(content.Id)) }
	if !gone(old.Content) && !gone(old.Incoming) {
		return nil
	}
	img := proto.CloneOf(old)
	img.Staged = false
	img.UpdateTime = c.stamp()
	var op *storev1.Operation
	var oprev int64
	if img.Status == storev1.ImageStatus_IMAGE_STATUS_UPLOADING {
		op, oprev = c.stageOf(old)
		img.Status = storev1.ImageStatus_IMAGE_STATUS_QUEUED
		img.Content, img.Incoming, img.Origin, img.Signature = nil, nil, nil, nil
		if op != nil {
			op.State, op.Error = storev1.OperationState_OPERATION_STATE_FAILED, lostError(ReasonStagedLost)
		}
	} else {
		if op, oprev = c.importOf(id); op == nil && !old.Staged {
			return nil // its end is decided already
		}
		c.unfinish(img, op)
	}
	writes := []Write{{Key: ImageKey(id), Value: img, Revision: rev}}
	if op != nil {
		writes = append(writes, Write{Key: OperationKey(image.ID(op.Id)), Value: op, Revision: oprev})
	}
	return writes
}

// onlyStaged reports whether the data of an image, if it has any, is nowhere but in the staging area.
func (c *Catalog) onlyStaged(img *storev1.Image) bool {
	switch img.Status {
	case storev1.ImageStatus_IMAGE_STATUS_UPLOADING, storev1.ImageStatus_IMAGE_STATUS_IMPORTING:
	default:
		return false
	}
	id := image.ID(img.Id)
	ops, _ := c.records.ImageOperations(id)
	replicas, _ := c.records.Replicas(id)
	return !slices.ContainsFunc(ops, func(o *storev1.Operation) bool {
		return o.Kind == storev1.OperationKind_OPERATION_KIND_ADOPT // its data comes from a site
	}) && !slices.ContainsFunc(replicas, func(r *storev1.Replica) bool {
		return r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED
	})
}

// stageOf returns a copy of the operation that staged the data of an image; nil when it is forgotten.
func (c *Catalog) stageOf(img *storev1.Image) (*storev1.Operation, int64) {
	for _, o := range c.records.Operations() {
		if o.Kind == storev1.OperationKind_OPERATION_KIND_STAGE && o.ImageId == img.Id && o.Source.GetContentId() == img.Content.GetId() {
			op, rev := c.records.Operation(image.ID(o.Id))
			return proto.CloneOf(op), rev
		}
	}
	return nil, 0
}

// importOf returns a copy of the running import of an image; nil when there is none, or it is being undone.
func (c *Catalog) importOf(id image.ID) (*storev1.Operation, int64) {
	ops, revs := c.records.ImageOperations(id)
	for i, o := range ops {
		if o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT && o.Undoing == storev1.OperationState_OPERATION_STATE_UNSPECIFIED {
			return proto.CloneOf(o), revs[i]
		}
	}
	return nil, 0
}

// unfinish makes an import one whose data has not come: it runs again if the hub can get the data by itself, else it has
// failed.
func (c *Catalog) unfinish(img *storev1.Image, op *storev1.Operation) {
	if o := img.Origin; o != nil { // the data will come as it came before
		img.DiskFormat, img.ContainerFormat = o.DiskFormat, o.ContainerFormat
	}
	img.Origin, img.Signature = nil, nil
	img.Content, img.Incoming = &storev1.Content{Id: img.Content.GetId()}, nil
	if op == nil {
		return
	}
	op.Source.Complete = false
	var reason string
	switch {
	case op.Source.Staged:
		reason = ReasonStagedLost
	case op.Source.Secret || op.Method == "glance-download":
		reason = "IMPORT_INTERRUPTED"
	case op.Source.Uri == "":
		reason = "UPLOAD_INTERRUPTED"
	default:
		return
	}
	op.Undoing, op.Error = storev1.OperationState_OPERATION_STATE_FAILED, lostError(reason)
	if fetches(op) {
		for _, part := range op.Stores {
			img.FailedStores = append(img.FailedStores, part.StoreId)
		}
		slices.Sort(img.FailedStores)
		img.FailedStores = slices.Compact(img.FailedStores)
	}
}

func lostError(reason string) *storev1.OperationError {
	return &storev1.OperationError{
		Code: int32(rpc.Code(fault.Unavailable)), Reason: reason,
		Message: "the data was in the staging area of a hub that is gone, and in no store yet; bring it in again",
	}
}
