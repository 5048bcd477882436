package ctl

import (
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) operation() *cobra.Command {
	return noun("operation", groupImages, "Long-running requests: imports, copies, deletes, verifications",
		c.operationList(), c.operationShow(), c.operationWait(), c.operationCancel())
}

func kindWord(op *hubv1.Operation) string       { return word(op.GetKind(), "OPERATION_KIND_") }
func stateWord(s hubv1.OperationState) string   { return word(s, "OPERATION_STATE_") }
func phaseWord(phase hubv1.ReplicaPhase) string { return word(phase, "REPLICA_PHASE_") }

// showOperation writes one operation, the stores one a line.
func (c *cli) showOperation(op *hubv1.Operation) error {
	return c.show(op, func(l *lines) {
		l.add("id", op.GetId())
		l.add("kind", kindWord(op))
		l.add("image", op.GetImageId())
		l.add("state", stateWord(op.GetState()))
		l.add("accepted", c.when(op.GetCreateTime()))
		if op.GetEndTime() != nil {
			took := op.GetEndTime().AsTime().Sub(op.GetCreateTime().AsTime())
			l.add("ended", c.when(op.GetEndTime())+", took "+span(took))
		}
		if op.GetUserId() != "" {
			l.add("requested by", fmt.Sprintf("user %s, project %s, request %s", op.GetUserId(), dash(op.GetProjectId()), dash(op.GetRequestId())))
		}
		switch op.GetKind() {
		case hubv1.OperationKind_OPERATION_KIND_IMPORT, hubv1.OperationKind_OPERATION_KIND_STAGE:
			addImport(l, op)
		}
		l.add("all must succeed", yesNo(op.GetAllMustSucceed()))
		if e := op.GetError(); e != nil {
			l.add("error", e.GetMessage()+" ["+e.GetReason()+"]")
		}
		var stores []string
		for _, s := range op.GetStores() {
			stores = append(stores, storeRow(op.GetKind(), s, c.env.Now()).plain())
		}
		l.pairs("stores", stores...)
		if len(op.GetNotes()) > 0 {
			l.pairs("notes", op.GetNotes()...)
		}
	})
}

// addImport writes how far the data of an import is.
func addImport(l *lines, op *hubv1.Operation) {
	source := amount(op.GetSourceBytesDone(), op.GetSourceBytesTotal())
	if rate := op.GetSourceBytesPerSecond(); rate > 0 {
		source += ", " + size(rate) + "/s"
	}
	l.add("source", source)
	if phase := op.GetImportPhase(); phase != hubv1.ImportPhase_IMPORT_PHASE_UNSPECIFIED {
		l.add("phase", word(phase, "IMPORT_PHASE_"))
	}
	if op.GetDiskBytesTotal() > 0 {
		l.add("disk", amount(op.GetDiskBytesDone(), op.GetDiskBytesTotal()))
	}
}

// dash stands for nothing in the middle of a text.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// amount returns how much of a total is done; the total may be unknown.
func amount(done, total int64) string {
	if total <= 0 {
		return size(done)
	}
	return fmt.Sprintf("%s of %s (%d%%)", size(done), size(total), percent(done, total))
}
