package reconcile

import (
	"fmt"
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	running   = storev1.OperationState_OPERATION_STATE_RUNNING
	succeeded = storev1.OperationState_OPERATION_STATE_SUCCEEDED
	failed    = storev1.OperationState_OPERATION_STATE_FAILED
	cancelled = storev1.OperationState_OPERATION_STATE_CANCELLED
	notSet    = storev1.OperationState_OPERATION_STATE_UNSPECIFIED
)

func codeOf(c fault.Class) int32 { return int32(rpc.Code(c)) }

// planOperation finds out how far an operation is from the replicas it is about.
func (p *planner) planOperation(o *storev1.Operation) {
	if o.State != running {
		return
	}
	switch o.Kind {
	case storev1.OperationKind_OPERATION_KIND_IMPORT, storev1.OperationKind_OPERATION_KIND_COPY:
		if o.Undoing == notSet {
			p.planFill(o)
		}
		if o.Undoing != notSet && o.State == running {
			p.planUndo(o)
		}
	case storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE:
		p.planDelete(o, p.img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETED)
	case storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA:
		p.planDelete(o, true)
	case storev1.OperationKind_OPERATION_KIND_VERIFY:
		p.planVerify(o)
	case storev1.OperationKind_OPERATION_KIND_ADOPT:
		p.planAdopt(o)
	case storev1.OperationKind_OPERATION_KIND_STAGE:
		if o.Undoing != notSet { // the data will not come; nothing was written to any store
			p.end(o, o.Undoing, o.Error)
		}
	}
}

// planFill ends an import or a copy when none of its stores is under way any more.
func (p *planner) planFill(o *storev1.Operation) {
	if p.img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETING {
		return // the delete may be refused; then this goes on
	}
	left, bad, good := 0, []string(nil), 0
	for _, part := range o.Stores {
		p.planPart(o, part)
		switch part.State {
		case running:
			left++
		case succeeded:
			good++
		default:
			bad = append(bad, part.StoreId)
		}
	}
	importing := o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT
	switch {
	case len(bad) > 0 && o.AllMustSucceed, importing && left == 0 && good == 0:
		p.beginUndo(o, bad)
	case left == 0 && good > 0:
		p.end(o, succeeded, nil)
	case left == 0: // the failed copies stay: they go on when their site returns, or when the user says so
		state, err := verdict(o)
		p.end(o, state, err)
	}
}

// planPart finds out how far one part of an import or a copy is.
func (p *planner) planPart(o *storev1.Operation, part *storev1.OperationStore) {
	r := p.replicas[image.StoreID(part.StoreId)]
	switch {
	case r == nil && part.Error.GetReason() == catalog.ReasonStoreGone: // and stays so
	case !part.Created && !part.Joined:
		p.planBlocked(o, part, r)
	case r == nil || r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED:
		p.endPart(part, cancelled, nil)
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		p.endPart(part, succeeded, nil)
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		p.endPart(part, failed, &storev1.OperationError{
			Code: codeOf(fault.Precondition), Reason: r.Reason, Message: r.Message,
		})
	default:
		part.State, part.Error = running, nil
	}
}

// verdict returns how an operation ends none of whose parts has succeeded.
func verdict(o *storev1.Operation) (storev1.OperationState, *storev1.OperationError) {
	for _, part := range o.Stores {
		if part.State == failed && part.Error != nil {
			return failed, &storev1.OperationError{
				Code: part.Error.Code, Reason: part.Error.Reason, Message: fmt.Sprintf("store %s: %s", part.StoreId, part.Error.Message),
			}
		}
	}
	return cancelled, nil // the copies were deleted under it
}

// planBlocked handles a part that has no replica of its own yet: an earlier copy is still being removed.
func (p *planner) planBlocked(o *storev1.Operation, part *storev1.OperationStore, r *storev1.Replica) {
	_, known := p.w.Stores[image.StoreID(part.StoreId)]
	switch {
	case r == nil && known: // it has gone in this very plan: the next one creates the replica
	case r == nil:
		p.endPart(part, failed, catalog.StoreGone(part.StoreId))
	case p.after(o.CreateTime.AsTime(), p.w.Settings.OfflineTimeout):
		p.endPart(part, failed, &storev1.OperationError{
			Code: codeOf(fault.Precondition), Reason: "BEING_DELETED", Message: "an earlier copy could not be removed in time",
		})
	}
}

// beginUndo makes a failed operation remove what it has written before it ends.
func (p *planner) beginUndo(o *storev1.Operation, bad []string) {
	o.Undoing, o.Error = verdict(o)
	for _, s := range bad {
		if !slices.Contains(p.img.FailedStores, s) {
			p.img.FailedStores = append(p.img.FailedStores, s)
		}
	}
	slices.Sort(p.img.FailedStores)
}

// planUndo removes the replicas an operation created, unless another operation wants them or they stand on their own, and
// ends it when they are gone.
func (p *planner) planUndo(o *storev1.Operation) {
	left := false
	var notes []string
	for _, part := range o.Stores {
		s := image.StoreID(part.StoreId)
		r := p.replicas[s]
		if r == nil || !part.Created || p.wanted(s, o) {
			p.cancelPart(part)
			continue
		}
		if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE && !o.AllMustSucceed {
			p.endPart(part, succeeded, nil)
			continue
		}
		switch r.Removal {
		case storev1.Removal_REMOVAL_UNSPECIFIED:
			if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
				if part.State == cancelled {
					notes = append(notes, fmt.Sprintf("store %s keeps its copy: it has clones", s))
					continue // asked before and refused
				}
				p.cancelPart(part)
				p.replicas[s] = catalog.BeginRemoval(r, p.w.Now)
				p.wakeAt(p.w.Now.Add(p.w.Settings.CheckTimeout))
			} else {
				p.cancelPart(part)
				p.decide(r)
			}
			left = true
		case storev1.Removal_REMOVAL_CHECKING:
			left = true
		default:
			if p.settled(r) {
				notes = append(notes, tombstone(r))
			} else {
				left = true
			}
		}
	}
	if left {
		return
	}
	o.Notes = append(o.Notes, notes...)
	p.end(o, o.Undoing, o.Error)
}

// cancelPart ends a part that has no end yet.
func (p *planner) cancelPart(part *storev1.OperationStore) {
	if part.State == running || part.State == succeeded {
		part.State, part.Error = cancelled, nil
	}
}

// wanted reports whether an operation other than o wants the replica.
func (p *planner) wanted(s image.StoreID, o *storev1.Operation) bool {
	for _, other := range p.ops {
		if other.Id == o.Id || !fills(other) {
			continue
		}
		for _, part := range other.Stores {
			if part.StoreId == string(s) {
				return true
			}
		}
	}
	return false
}

// planDelete ends a delete once every copy is gone or can only be waited for.
func (p *planner) planDelete(o *storev1.Operation, decided bool) {
	if !decided {
		return
	}
	left := false
	var notes []string
	for _, part := range o.Stores {
		r := p.replicas[image.StoreID(part.StoreId)]
		switch {
		case r == nil:
			p.endPart(part, succeeded, nil)
		case r.Removal == storev1.Removal_REMOVAL_UNSPECIFIED:
			p.endPart(part, cancelled, nil)
		case p.settled(r):
			p.endPart(part, succeeded, nil)
			notes = append(notes, tombstone(r))
		default:
			left = true
		}
	}
	if !left {
		o.Notes = append(o.Notes, notes...)
		p.end(o, succeeded, nil)
	}
}

func tombstone(r *storev1.Replica) string {
	if r.Reason == "" {
		return fmt.Sprintf("store %s: site %s cannot be reached; the copy will be removed when it is back", r.StoreId, r.SiteId)
	}
	return fmt.Sprintf("store %s: the copy will be removed later (%s: %s)", r.StoreId, r.Reason, r.Message)
}

// planVerify ends a verification when the site has answered.
func (p *planner) planVerify(o *storev1.Operation) {
	part := o.Stores[0]
	r := p.replicas[image.StoreID(part.StoreId)]
	var err *storev1.OperationError
	switch {
	case r == nil || r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED:
		err = &storev1.OperationError{Code: codeOf(fault.NotFound), Reason: "REPLICA_NOT_FOUND", Message: "the copy has been removed"}
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_FAILED && r.Reason != catalog.ReasonDamaged: // nobody looks at it any more
		err = &storev1.OperationError{Code: codeOf(fault.Precondition), Reason: r.Reason, Message: r.Message}
	case r.VerifiedGeneration < o.VerifyGeneration:
		if view := p.w.Stores[image.StoreID(part.StoreId)]; view.Online || !p.givenUp(view, o.CreateTime.AsTime()) {
			return
		}
		err = &storev1.OperationError{Code: codeOf(fault.Unavailable), Reason: reasonOffline, Message: fmt.Sprintf("site %s is offline", r.SiteId)}
	case r.VerifyMessage != "":
		err = &storev1.OperationError{Code: codeOf(fault.Unavailable), Reason: "NOT_VERIFIED", Message: r.VerifyMessage}
	case r.ChunksDamaged > 0:
		err = &storev1.OperationError{
			Code: codeOf(fault.Corrupt), Reason: catalog.ReasonDamaged,
			Message: fmt.Sprintf("%d chunks differ from the manifest", r.ChunksDamaged),
		}
	}
	state := succeeded
	if err != nil {
		state = failed
	}
	p.endPart(part, state, err)
	p.end(o, state, err)
}

func (p *planner) endPart(part *storev1.OperationStore, state storev1.OperationState, err *storev1.OperationError) {
	part.State, part.Error = state, err
}

func (p *planner) end(o *storev1.Operation, state storev1.OperationState, err *storev1.OperationError) {
	o.State, o.Error, o.EndTime = state, err, catalog.Stamp(p.w.Now)
}

// planImage derives the image's own state from its replicas and operations.
func (p *planner) planImage() {
	switch p.img.Status {
	case storev1.ImageStatus_IMAGE_STATUS_IMPORTING:
		p.planImporting()
	case storev1.ImageStatus_IMAGE_STATUS_UPLOADING:
		p.planUploading()
	case storev1.ImageStatus_IMAGE_STATUS_ACTIVE:
		p.planLost()
	case storev1.ImageStatus_IMAGE_STATUS_DELETED:
		p.gone = len(p.replicas) == 0
	}
}

// planImporting publishes the image, or returns it to queued when the import has come to nothing.
func (p *planner) planImporting() {
	active, importing := 0, false
	for _, r := range p.replicas {
		if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
			active++
		}
	}
	for _, o := range p.ops {
		if (o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT || o.Kind == storev1.OperationKind_OPERATION_KIND_ADOPT) && o.State == running {
			importing = true
		}
	}
	switch {
	case active > 0 && (!p.img.PublishTogether || !importing):
		p.img.Status = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
		p.img.PublishTogether, p.img.Staged = false, false
		p.img.UpdateTime = catalog.Stamp(p.w.Now)
	case !importing && active == 0:
		if staged := p.staged(); staged != nil { // to be imported again
			p.img.Status = storev1.ImageStatus_IMAGE_STATUS_UPLOADING
			p.img.Content, p.img.Incoming = staged, nil
			p.img.UpdateTime = catalog.Stamp(p.w.Now)
		} else {
			p.empty()
		}
		p.img.PublishTogether = false
		for _, s := range p.stores() { // what other operations left behind
			p.decide(p.replicas[s])
		}
		p.endCopies()
	}
}

// staged returns the complete content that was staged; nil when there is none.
func (p *planner) staged() *storev1.Content {
	c := p.img.Content
	if p.img.Incoming != nil {
		c = p.img.Incoming
	}
	if p.img.Staged && c.GetComplete() {
		return c
	}
	return nil
}

// planLost returns an image to queued whose last copy went away with its site. Its data may be brought in again.
func (p *planner) planLost() {
	if p.img.Content.GetId() == "" || len(p.replicas) > 0 {
		return // never had any, or still has some that may become complete
	}
	p.empty()
	p.endCopies()
}

// endCopies ends the copies of an image that has lost its data: such as retries of an import that was undone.
func (p *planner) endCopies() {
	for _, o := range p.ops {
		if o.Kind != storev1.OperationKind_OPERATION_KIND_COPY || o.State != running {
			continue
		}
		for _, part := range o.Stores {
			p.cancelPart(part)
		}
		p.end(o, failed, &storev1.OperationError{
			Code: codeOf(fault.Precondition), Reason: "NOT_ACTIVE", Message: "the image has lost its data; there is nothing to copy",
		})
	}
}

// planUploading returns an image to queued whose data has stopped to arrive, or was staged and nobody imported it.
func (p *planner) planUploading() {
	arriving := slices.ContainsFunc(p.ops, func(o *storev1.Operation) bool {
		return o.Kind == storev1.OperationKind_OPERATION_KIND_STAGE && o.State == running
	})
	if arriving || p.img.Content.GetComplete() && !p.after(p.img.UpdateTime.AsTime(), p.w.Settings.StagedTimeout) {
		return
	}
	p.empty()
}

// empty makes the image one without data.
func (p *planner) empty() {
	p.img.Status = storev1.ImageStatus_IMAGE_STATUS_QUEUED
	p.img.Content, p.img.Incoming, p.img.Staged = nil, nil, false
	if o := p.img.Origin; o != nil { // the next data is what the user said before it was converted
		p.img.DiskFormat, p.img.ContainerFormat = o.DiskFormat, o.ContainerFormat
	}
	p.img.Origin, p.img.Signature = nil, nil
	p.img.UpdateTime = catalog.Stamp(p.w.Now)
}
