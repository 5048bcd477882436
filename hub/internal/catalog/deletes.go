package catalog

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// DeleteImage withdraws every location of an image and starts asking all stores whether their copy may go. The delete is
// carried out only if none refuses. A second delete joins the first. An image that never had data is gone at once.
func (c *Catalog) DeleteImage(ctx context.Context, id image.ID) (*storev1.Operation, error) {
	var op *storev1.Operation
	err := c.repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		if old.Protected {
			return fault.New(fault.Precondition, "PROTECTED", "image %s is protected; unprotect it first", id)
		}
		if old.Status == storev1.ImageStatus_IMAGE_STATUS_DELETING {
			if op = c.runningDelete(id); op != nil {
				return nil
			}
		}
		if op = c.emptyDelete(ctx, old); op != nil {
			return c.records.Commit(ctx,
				Write{Key: ImageKey(id), Revision: rev},
				Write{Key: OperationKey(image.ID(op.Id)), Value: op})
		}
		img := proto.CloneOf(old)
		img.StatusBeforeDelete = old.Status
		img.Status = storev1.ImageStatus_IMAGE_STATUS_DELETING
		img.UpdateTime = c.stamp()
		var stores []image.StoreID
		replicas, _ := c.records.Replicas(id)
		for _, r := range replicas {
			stores = append(stores, image.StoreID(r.StoreId))
		}
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE, id, stores)
		return c.records.Commit(ctx,
			Write{Key: ImageKey(id), Value: img, Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// emptyDelete returns the finished delete of an image that has no data, no copy and nothing under way, so that nobody has to
// be asked and nothing is left to remove; nil for other images. Whatever begins meanwhile changes the image's record.
func (c *Catalog) emptyDelete(ctx context.Context, img *storev1.Image) *storev1.Operation {
	id := image.ID(img.Id)
	replicas, _ := c.records.Replicas(id)
	running, _ := c.records.ImageOperations(id)
	if img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED || img.Content != nil || len(replicas) > 0 || len(running) > 0 {
		return nil
	}
	op := c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE, id, nil)
	op.State, op.EndTime = storev1.OperationState_OPERATION_STATE_SUCCEEDED, op.CreateTime
	return op
}

func (c *Catalog) runningDelete(id image.ID) *storev1.Operation {
	ops, _ := c.records.ImageOperations(id)
	for _, o := range ops {
		if o.Kind == storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE {
			return o
		}
	}
	return nil
}

// DeleteReplica removes one copy, unless it is the last one or in use. Deleting a copy that is still being written
// cancels the write.
func (c *Catalog) DeleteReplica(ctx context.Context, id image.ID, store image.StoreID) (*storev1.Operation, error) {
	var op *storev1.Operation
	err := c.repeat(ctx, func() error {
		img, irev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		r, rev, err := c.replica(id, store)
		if err != nil {
			return err
		}
		if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_DELETING {
			return fault.New(fault.Precondition, "BEING_DELETED", "the copy in store %s is being removed already", store)
		}
		if !c.otherCopy(id, store) {
			return fault.New(fault.Precondition, "LAST_COPY",
				"store %s holds the last copy of image %s; delete the image instead", store, id)
		}
		img = proto.CloneOf(img) // written too, so that two deletes cannot both leave the other as the last copy
		img.UpdateTime = c.stamp()
		img.FailedStores = withoutStores(img.FailedStores, []image.StoreID{store})
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA, id, []image.StoreID{store})
		return c.records.Commit(ctx,
			Write{Key: ImageKey(id), Value: img, Revision: irev},
			Write{Key: ReplicaKey(id, store), Value: BeginRemoval(r, c.now()), Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// otherCopy reports whether a complete copy exists in another store.
func (c *Catalog) otherCopy(id image.ID, store image.StoreID) bool {
	replicas, _ := c.records.Replicas(id)
	for _, r := range replicas {
		if r.StoreId != string(store) && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
			return true
		}
	}
	return false
}

// BeginRemoval returns a copy of r whose site is asked whether it may be removed. Its location is withdrawn by that.
func BeginRemoval(r *storev1.Replica, now time.Time) *storev1.Replica {
	n := proto.CloneOf(r)
	n.PhaseBeforeRemoval = r.Phase
	n.Phase = storev1.ReplicaPhase_REPLICA_PHASE_DELETING
	n.Removal = storev1.Removal_REMOVAL_CHECKING
	n.PhaseTime = Stamp(now)
	n.Generation = NextGeneration(r.Generation, now)
	n.Reason, n.Message, n.Retryable, n.NextAttemptTime = "", "", false, nil
	n.Repair = storev1.Repair_REPAIR_UNSPECIFIED
	return n
}
