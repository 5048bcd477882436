package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Replicate copies an active image to more stores. A named store that has a copy is an error and changes nothing; with
// Target.All such stores are skipped. Stores that are being filled are joined; failed ones start again; where an earlier
// copy is still being removed the new one follows. method is the way of the Image API, empty for the gRPC API.
func (c *Catalog) Replicate(ctx context.Context, id image.ID, t Target, method string) (*storev1.Operation, error) {
	var op *storev1.Operation
	if _, known := storev1.Priority_name[int32(t.Priority)]; !known {
		return nil, fault.BadField("priority", "%d is not a priority that this hub knows", t.Priority)
	}
	err := c.repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		if old.Status != storev1.ImageStatus_IMAGE_STATUS_ACTIVE {
			return fault.New(fault.Precondition, "NOT_ACTIVE", "image %s is not active; only active images can be copied", id)
		}
		if old.Content.GetId() == "" {
			return errEmpty(id)
		}
		stores, err := c.resolve(t)
		if err != nil {
			return err
		}
		stores, restarts, err := c.copyPlan(id, stores, t.All)
		if err != nil {
			return err
		}
		img := proto.CloneOf(old)
		img.FailedStores = withoutStores(img.FailedStores, stores)
		img.UpdateTime = c.stamp()
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_COPY, id, stores)
		op.AllMustSucceed = t.AllMustSucceed
		op.Method, op.Priority = method, t.Priority
		for len(restarts) > MaxWrites-2 { // starting failed copies again is harmless even if what follows is refused
			if err := c.records.Commit(ctx, restarts[:MaxWrites-2]...); err != nil {
				return err
			}
			restarts = restarts[MaxWrites-2:]
		}
		return c.records.Commit(ctx, append(restarts,
			Write{Key: ImageKey(id), Value: img, Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})...)
	})
	return op, err
}

// copyPlan sorts out which of the stores a copy is really for, and restarts the failed ones among them.
func (c *Catalog) copyPlan(id image.ID, stores []image.StoreID, all bool) ([]image.StoreID, []Write, error) {
	var (
		out      []image.StoreID
		restarts []Write
		have     []string
	)
	inCentral := false
	for _, s := range stores {
		r, rev := c.records.Replica(id, s)
		switch phase := r.GetPhase(); {
		case phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
			have = append(have, string(s))
			continue
		case phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
			restarts = append(restarts, Write{Key: ReplicaKey(id, s), Value: c.restarted(r), Revision: rev})
		}
		inCentral = inCentral || s == c.central
		out = append(out, s)
	}
	if len(have) > 0 && !all {
		return nil, nil, fault.New(fault.Exists, "REPLICA_EXISTS", "image %s is already in store %s", id, strings.Join(have, ", "))
	}
	if len(out) == 0 {
		return nil, nil, fault.New(fault.Exists, "REPLICA_EXISTS", "image %s is already in every store", id)
	}
	central, _ := c.records.Replica(id, c.central)
	if !inCentral && (central == nil || central.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED ||
		central.Phase == storev1.ReplicaPhase_REPLICA_PHASE_DELETING) {
		return nil, nil, fault.New(fault.Precondition, "NOT_IN_CENTRAL",
			"image %s must be in the central store %s before it is copied to other stores", id, c.central)
	}
	return out, restarts, nil
}

// RetryReplica starts a failed or waiting copy again at once. A damaged one is made again.
func (c *Catalog) RetryReplica(ctx context.Context, id image.ID, store image.StoreID) (*storev1.Operation, error) {
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
		switch r.Phase {
		case storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
			return fault.New(fault.Exists, "REPLICA_EXISTS", "the copy in store %s is complete", store)
		case storev1.ReplicaPhase_REPLICA_PHASE_DELETING:
			return fault.New(fault.Precondition, "BEING_DELETED", "the copy in store %s is being removed", store)
		}
		if img.Status == storev1.ImageStatus_IMAGE_STATUS_QUEUED {
			return fault.New(fault.Precondition, "NOT_ACTIVE", "image %s has no data; import it again", id)
		}
		if r.Reason == ReasonDamaged && r.Adopted {
			return fault.New(fault.Precondition, ReasonDamaged,
				"the copy in store %s is damaged and was not made by Atoll; delete it there and copy the image again", store)
		}
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_COPY, id, []image.StoreID{store})
		return c.records.Commit(ctx,
			Write{Key: ImageKey(id), Value: img, Revision: irev}, // guards against a delete at the same moment
			Write{Key: ReplicaKey(id, store), Value: c.restarted(r), Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// ReasonDamaged marks a published copy that a verification found to differ from its manifest.
const ReasonDamaged = "REPLICA_DAMAGED"

// AskVerification changes r such that its site compares the copy with its manifest. A verification that is under way already
// goes on, and another follows it: what has been read before now proves nothing to who asks now.
func AskVerification(r *storev1.Replica, now time.Time) {
	r.VerifyGeneration++
	r.VerifyRequestTime = Stamp(now)
}

// VerifyReplica asks the site of a copy to compare it with its manifest.
func (c *Catalog) VerifyReplica(ctx context.Context, id image.ID, store image.StoreID) (*storev1.Operation, error) {
	var op *storev1.Operation
	err := c.repeat(ctx, func() error {
		if _, _, err := c.visibleImage(id); err != nil {
			return err
		}
		old, rev, err := c.replica(id, store)
		if err != nil {
			return err
		}
		if old.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && old.Reason != ReasonDamaged {
			return fault.New(fault.Precondition, "NOT_ACTIVE", "the copy in store %s is not complete", store)
		}
		r := proto.CloneOf(old)
		AskVerification(r, c.now())
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_VERIFY, id, []image.StoreID{store})
		op.VerifyGeneration = r.VerifyGeneration
		return c.records.Commit(ctx,
			Write{Key: ReplicaKey(id, store), Value: r, Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// replica returns a replica or NotFound.
func (c *Catalog) replica(id image.ID, store image.StoreID) (*storev1.Replica, int64, error) {
	r, rev := c.records.Replica(id, store)
	if r == nil {
		return nil, 0, fault.New(fault.NotFound, "REPLICA_NOT_FOUND", "image %s is not in store %s", id, store)
	}
	return r, rev, nil
}

// restarted returns a copy of r that begins again with no failures counted. A damaged one is taken away first, if nothing
// depends on it and another copy is there.
func (c *Catalog) restarted(r *storev1.Replica) *storev1.Replica {
	n := proto.CloneOf(r)
	if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED && r.Reason == ReasonDamaged && !r.Adopted {
		n.Repair = storev1.Repair_REPAIR_CHECKING
	}
	n.Phase = storev1.ReplicaPhase_REPLICA_PHASE_PENDING
	n.PhaseTime = c.stamp()
	n.Generation = NextGeneration(r.Generation, c.now())
	n.Reason, n.Message, n.Retryable, n.Attempts, n.NextAttemptTime = "", "", false, 0, nil
	return n
}

// newOperation returns a running operation of the caller of the request.
func (c *Catalog) newOperation(ctx context.Context, kind storev1.OperationKind, id image.ID, stores []image.StoreID) *storev1.Operation {
	op := &storev1.Operation{
		Id: string(image.NewID()), Kind: kind, ImageId: string(id), CreateTime: c.stamp(),
		State: storev1.OperationState_OPERATION_STATE_RUNNING, Stores: parts(stores),
	}
	if who := auth.From(ctx); who != nil {
		op.Requester = &storev1.Requester{UserId: who.UserID, ProjectId: who.ProjectID, RequestId: who.RequestID}
	}
	return op
}

// Describe names a replica for messages.
func Describe(r *storev1.Replica) string {
	return fmt.Sprintf("image %s in store %s", r.ImageId, r.StoreId)
}
