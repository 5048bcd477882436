package ctl

import (
	"fmt"
	"strings"
	"time"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// rank orders rows by how much a reader wants to see them when there is no room for all.
type rank int

const (
	rankMoving rank = iota
	rankFailed
	rankWaiting
	rankDone
)

// row is what progress shows about the source or about one store.
type row struct {
	name              string
	figures           bool // done, total and rate mean something
	done, total, rate int64
	copy              bool          // of a copy of an image
	left              time.Duration // of it, as the hub says; 0: not known
	text              string        // phase and remarks
	phase             string        // the text without what changes by itself; a change of it is news
	rank              rank
}

// plain is the row as part of a line of text.
func (r row) plain() string {
	if !r.figures || r.total <= 0 {
		return r.name + ": " + r.text
	}
	figures := []string{fmt.Sprintf("%d%%, %s of %s", percent(r.done, r.total), size(r.done), size(r.total))}
	if s := rate(r.rate); s != "" {
		figures = append(figures, s)
	}
	if s := timeLeft(r); s != "" {
		figures = append(figures, s)
	}
	return r.name + ": " + r.text + " (" + strings.Join(figures, ", ") + ")"
}

// sourceRow is the row of the bytes that come in to the hub, or to this program for a download.
func sourceRow(name, doing string, done, total, rate int64, complete bool) row {
	r := row{name: name, figures: true, done: done, total: total, rate: rate, text: doing, phase: doing}
	if complete {
		r.rate, r.text, r.phase, r.rank = 0, "complete", "complete", rankDone
	}
	return r
}

// storeRow is the row of one store of an operation.
func storeRow(kind hubv1.OperationKind, s *hubv1.StoreResult, now time.Time) row {
	r := row{name: s.GetStoreId()}
	switch s.GetState() {
	case hubv1.OperationState_OPERATION_STATE_SUCCEEDED:
		r.rank = rankDone
		r.text = doneWord(kind) + remarks(s.GetReplica().GetProgress())
	case hubv1.OperationState_OPERATION_STATE_FAILED:
		r.rank = rankFailed
		r.text = "failed: " + s.GetError().GetMessage() + " [" + s.GetError().GetReason() + "]"
	case hubv1.OperationState_OPERATION_STATE_CANCELLED:
		r.rank, r.text = rankDone, "cancelled"
	default:
		r = replicaRow(s.GetStoreId(), s.GetReplica(), now)
		if kind == hubv1.OperationKind_OPERATION_KIND_VERIFY && s.GetReplica().GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
			r.text, r.phase, r.rank = "verifying", "verifying", rankMoving
		}
		return r
	}
	r.phase = r.text
	return r
}

func doneWord(kind hubv1.OperationKind) string {
	switch kind {
	case hubv1.OperationKind_OPERATION_KIND_DELETE_IMAGE, hubv1.OperationKind_OPERATION_KIND_DELETE_REPLICA:
		return "deleted"
	case hubv1.OperationKind_OPERATION_KIND_VERIFY:
		return "verified"
	default:
		return "active"
	}
}

// replicaRow is the row of a copy on its way.
func replicaRow(name string, rep *hubv1.Replica, now time.Time) row {
	r := row{name: name, copy: true}
	r.text, r.phase = replicaText(rep, now)
	p := rep.GetProgress()
	r.done, r.total = p.GetBytesDone(), p.GetBytesTotal()
	switch rep.GetPhase() {
	case hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING, hubv1.ReplicaPhase_REPLICA_PHASE_VERIFYING:
		r.figures = true
		if rep.GetWaitingSince() == nil {
			r.rate, r.left = p.GetBytesPerSecond(), p.GetTimeLeft().AsDuration()
		} else {
			r.rank = rankWaiting
		}
	case hubv1.ReplicaPhase_REPLICA_PHASE_FAILED:
		r.rank = rankFailed
	case hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		r.rank = rankDone
	case hubv1.ReplicaPhase_REPLICA_PHASE_DELETING:
		r.rank = rankWaiting
	default:
		r.rank = rankWaiting
		r.figures = r.done > 0 && r.total > 0
	}
	return r
}

// replicaText says where a copy stands, and the same without times.
func replicaText(rep *hubv1.Replica, now time.Time) (text, phase string) {
	reason := ""
	if rep.GetReason() != "" {
		reason = ": " + rep.GetMessage() + " [" + rep.GetReason() + "]"
	}
	switch {
	case rep == nil:
		return "pending", "pending"
	case rep.GetWaitingSince() != nil:
		phase = "waiting for site " + rep.GetSiteId()
		return phase + " for " + span(now.Sub(rep.GetWaitingSince().AsTime())), phase
	case rep.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_PENDING && rep.GetNextAttemptTime() != nil:
		phase = fmt.Sprintf("attempt %d failed%s", rep.GetAttempts(), reason)
		return "next attempt in " + span(rep.GetNextAttemptTime().AsTime().Sub(now)) + ", " + phase, phase
	case rep.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_PENDING,
		rep.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_FAILED:
		phase = word(rep.GetPhase(), "REPLICA_PHASE_") + reason
		return phase, phase
	case rep.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		return "active" + remarks(rep.GetProgress()), "active"
	}
	phase = word(rep.GetPhase(), "REPLICA_PHASE_")
	return phase, phase
}

// remarks tells what was unusual about a transfer.
func remarks(p *hubv1.Progress) string {
	s := ""
	if n := p.GetBytesResumed(); n > 0 {
		s += ", " + size(n) + " resumed"
	}
	if n := p.GetChunksRepaired(); n > 0 {
		s += fmt.Sprintf(", %d chunks repaired", n)
	}
	return s
}

// fit returns no more rows than most, in order: those that a reader wants to see most, and how many were left out.
func fit(rows []row, most int) (shown []row, hidden int) {
	if len(rows) <= most {
		return rows, 0
	}
	limit := max(most-1, 1) // the last line tells what is missing
	take := make([]bool, len(rows))
	taken := 0
	for k := rankMoving; k <= rankDone; k++ {
		for i, r := range rows {
			if r.rank == k && taken < limit {
				take[i] = true
				taken++
			}
		}
	}
	for i, r := range rows {
		if take[i] {
			shown = append(shown, r)
		}
	}
	return shown, len(rows) - taken
}
