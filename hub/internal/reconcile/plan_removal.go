package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// answer is what a site says to the question whether a copy may be removed.
type answer int

const (
	answerPending     answer = iota // not yet
	answerFree                      // nothing depends on it
	answerInUse                     // it has clones
	answerUnreachable               // nobody to ask: the removal becomes a tombstone
)

// ask returns the answer for a replica whose removal is being checked.
func (p *planner) ask(r *storev1.Replica) answer {
	view := p.w.Stores[image.StoreID(r.StoreId)]
	if !view.Online || !view.Healthy { // its site looks for clones again before it removes anything
		return answerUnreachable
	}
	if o := p.observed(r); o != nil {
		switch o.State {
		case agentv1.ReplicaState_REPLICA_STATE_CONDEMNED, agentv1.ReplicaState_REPLICA_STATE_ABSENT:
			return answerFree
		case agentv1.ReplicaState_REPLICA_STATE_IN_USE:
			return answerInUse
		case agentv1.ReplicaState_REPLICA_STATE_FAILED:
			p.askAgain(r)
		}
	}
	if p.after(r.PhaseTime.AsTime(), p.w.Settings.CheckTimeout) {
		return answerUnreachable
	}
	return answerPending
}

// askAgain makes a connected site whose store did not answer look once more after a while. Until CheckTimeout has passed
// the removal is not decided; then the store counts as unreachable, like one whose site is away.
func (p *planner) askAgain(r *storev1.Replica) {
	if r.NextAttemptTime == nil {
		r.NextAttemptTime = catalog.Stamp(p.w.Now.Add(p.w.Settings.RetryInitial))
	}
	if p.after(r.NextAttemptTime.AsTime(), 0) {
		r.NextAttemptTime = nil
		r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
	}
}

// planImageDelete asks every store and then decides for all of them at once: one copy in use keeps them all.
func (p *planner) planImageDelete() {
	if p.img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETING {
		return
	}
	if p.refused() {
		p.planRefusal()
		return
	}
	pending := false
	var inUse []string
	for _, s := range p.stores() {
		r := p.replicas[s]
		if p.disown(s) {
			continue
		}
		if r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_DELETING {
			p.replicas[s] = catalog.BeginRemoval(r, p.w.Now)
			r = p.replicas[s]
		}
		if r.Removal != storev1.Removal_REMOVAL_CHECKING {
			continue // a tombstone or a removal decided earlier: has no say
		}
		switch p.ask(r) {
		case answerPending:
			pending = true
		case answerInUse:
			inUse = append(inUse, r.StoreId)
		}
	}
	switch {
	case len(inUse) > 0:
		p.refuseDelete(inUse)
	case !pending:
		p.decideDelete()
	}
}

// refuseDelete puts every copy back. The image stays as it is until the sites say that they have, see planRefusal: a
// location must not be published that a site has taken the name from.
func (p *planner) refuseDelete(inUse []string) {
	for _, s := range p.stores() {
		if !p.removing(s) && !p.undoing(s) { // else planRemoval goes on with it by itself
			p.undelete(p.replicas[s])
		}
	}
	for _, o := range p.ops {
		if o.Kind != storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE {
			continue
		}
		for _, part := range o.Stores {
			part.State = storev1.OperationState_OPERATION_STATE_CANCELLED
			if slices.Contains(inUse, part.StoreId) {
				p.endPart(part, storev1.OperationState_OPERATION_STATE_FAILED, inUseError(part.StoreId))
			}
		}
		o.Undoing = storev1.OperationState_OPERATION_STATE_FAILED
		o.Error = &storev1.OperationError{
			Code: codeOf(fault.Precondition), Reason: "IN_USE",
			Message: fmt.Sprintf("the copy in store %s has clones; nothing has been deleted", strings.Join(inUse, ", ")),
		}
	}
}

// refused reports whether the delete of the image has been refused, and the copies are being put back.
func (p *planner) refused() bool {
	return slices.ContainsFunc(p.ops, func(o *storev1.Operation) bool {
		return o.Kind == storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE && o.State == running && o.Undoing != notSet
	})
}

// planRefusal ends a refused delete once every site that can be asked has said where it is with its copy, or has had
// CheckTimeout for that.
func (p *planner) planRefusal() {
	for _, s := range p.stores() {
		r := p.replicas[s]
		view := p.w.Stores[s]
		if r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE || !view.Online || !view.Healthy {
			continue
		}
		if p.observed(r) == nil && !p.after(r.PhaseTime.AsTime(), p.w.Settings.CheckTimeout) {
			return
		}
	}
	p.img.Status = p.img.StatusBeforeDelete
	p.img.StatusBeforeDelete = storev1.ImageStatus_IMAGE_STATUS_UNSPECIFIED
	for _, o := range p.ops {
		if o.Kind == storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE {
			p.end(o, storev1.OperationState_OPERATION_STATE_FAILED, o.Error)
		}
	}
}

// removing reports whether a user wants this one copy gone whatever becomes of the image.
func (p *planner) removing(s image.StoreID) bool {
	return slices.ContainsFunc(p.ops, func(o *storev1.Operation) bool {
		return o.Kind == storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA && o.State == running && o.Stores[0].StoreId == string(s)
	})
}

// undoing reports whether an operation takes back this copy, which it has made, whatever becomes of the image.
func (p *planner) undoing(s image.StoreID) bool {
	r := p.replicas[s]
	return slices.ContainsFunc(p.ops, func(o *storev1.Operation) bool {
		if o.State != running || o.Undoing == notSet || p.wanted(s, o) {
			return false
		}
		if r.PhaseBeforeRemoval == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && !o.AllMustSucceed {
			return false // it stands on its own
		}
		return slices.ContainsFunc(o.Stores, func(part *storev1.OperationStore) bool { return part.Created && part.StoreId == string(s) })
	})
}

// undelete makes a copy wanted again whose removal was only being checked.
func (p *planner) undelete(r *storev1.Replica) {
	if r.Removal != storev1.Removal_REMOVAL_CHECKING {
		return
	}
	p.enter(r, r.PhaseBeforeRemoval)
	if r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE { // a failed one tries again, and finds out anew why it cannot be
		p.enter(r, storev1.ReplicaPhase_REPLICA_PHASE_PENDING)
		r.Attempts = 0
	}
	r.Removal = storev1.Removal_REMOVAL_UNSPECIFIED
	r.PhaseBeforeRemoval = storev1.ReplicaPhase_REPLICA_PHASE_UNSPECIFIED
	r.NextAttemptTime = nil
	r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
}

// decideDelete makes the delete final: from here on every copy goes, at once or when its site returns.
func (p *planner) decideDelete() {
	p.img.Status = storev1.ImageStatus_IMAGE_STATUS_DELETED
	p.img.UpdateTime = catalog.Stamp(p.w.Now)
	for _, s := range p.stores() {
		p.decide(p.replicas[s])
	}
	for _, o := range p.ops {
		if o.Kind != storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE {
			for _, part := range o.Stores {
				part.State = storev1.OperationState_OPERATION_STATE_CANCELLED
			}
			p.end(o, storev1.OperationState_OPERATION_STATE_CANCELLED, nil)
		}
	}
}

// decide makes the removal of one copy final.
func (p *planner) decide(r *storev1.Replica) {
	if r.Removal == storev1.Removal_REMOVAL_DECIDED {
		return
	}
	r.Phase = storev1.ReplicaPhase_REPLICA_PHASE_DELETING
	r.PhaseTime = catalog.Stamp(p.w.Now) // also after a long check: the site has its full time for the removal
	r.Removal = storev1.Removal_REMOVAL_DECIDED
	r.NextAttemptTime = nil
	r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
	r.Location = ""
}

// planRemoval moves the removal of one copy that does not belong to the delete of the whole image, and drops the record
// of a copy that is gone.
func (p *planner) planRemoval(s image.StoreID) {
	r := p.replicas[s]
	switch {
	case r.Removal == storev1.Removal_REMOVAL_CHECKING && p.img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETED:
		p.decide(r) // the delete was decided, and the hub died before all of it was written
	case r.Removal == storev1.Removal_REMOVAL_CHECKING && p.img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETING:
		switch p.ask(r) {
		case answerFree, answerUnreachable:
			p.decide(r)
		case answerInUse:
			p.refuseRemoval(r)
		}
	case r.Removal == storev1.Removal_REMOVAL_DECIDED:
		o := p.observed(r)
		switch {
		case o == nil:
		case o.State == agentv1.ReplicaState_REPLICA_STATE_ABSENT:
			delete(p.replicas, s)
		case o.State == agentv1.ReplicaState_REPLICA_STATE_IN_USE, o.State == agentv1.ReplicaState_REPLICA_STATE_FAILED:
			r.Reason, r.Message = o.Failure.GetReason(), o.Failure.GetMessage()
			if o.State == agentv1.ReplicaState_REPLICA_STATE_FAILED && p.after(r.PhaseTime.AsTime(), p.w.Settings.CheckTimeout) {
				// Ask again: the site waits for a new generation after a failure.
				r.Generation = catalog.NextGeneration(r.Generation, p.w.Now)
				r.PhaseTime = catalog.Stamp(p.w.Now)
			}
		}
	}
}

// refuseRemoval keeps one copy that turned out to be in use, and tells the operation that wanted it gone.
func (p *planner) refuseRemoval(r *storev1.Replica) {
	p.undelete(r)
	for _, o := range p.ops {
		if o.Kind == storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA && o.Stores[0].StoreId == r.StoreId {
			p.endPart(o.Stores[0], storev1.OperationState_OPERATION_STATE_FAILED, inUseError(r.StoreId))
			p.end(o, storev1.OperationState_OPERATION_STATE_FAILED, inUseError(r.StoreId))
		}
	}
}

// settled reports whether nothing more can be done now about the removal of r: it waits for its site or its clones.
func (p *planner) settled(r *storev1.Replica) bool {
	if r.Removal != storev1.Removal_REMOVAL_DECIDED {
		return false
	}
	view := p.w.Stores[image.StoreID(r.StoreId)]
	if !view.Online {
		return true
	}
	if o := p.observed(r); o != nil && (o.State == agentv1.ReplicaState_REPLICA_STATE_IN_USE || o.State == agentv1.ReplicaState_REPLICA_STATE_FAILED) {
		return true
	}
	return p.after(r.PhaseTime.AsTime(), p.w.Settings.CheckTimeout)
}

func inUseError(store string) *storev1.OperationError {
	return &storev1.OperationError{
		Code: codeOf(fault.Precondition), Reason: "IN_USE",
		Message: fmt.Sprintf("the copy in store %s has clones", store),
	}
}
