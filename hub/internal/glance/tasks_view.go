package glance

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/importer"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// task shows an operation as a task.
func (s *Server) task(o *storev1.Operation) taskFull {
	t := taskFull{taskStub: s.taskStub(o), Input: taskInput(o)}
	switch t.Status {
	case taskSuccess:
		t.Result = map[string]string{"image_id": o.ImageId}
		t.Message = endMessage(o)
	case taskFailure:
		t.Message = endMessage(o)
	default:
		t.Message = s.progressMessage(o)
	}
	return t
}

// taskStub is cheap: it looks at the record only.
func (s *Server) taskStub(o *storev1.Operation) taskStub {
	t := taskStub{
		ID: o.Id, Type: taskType(o), Status: s.taskStatus(o), ImageID: o.ImageId,
		Owner: orNil(o.Requester.GetProjectId()), UserID: orNil(o.Requester.GetUserId()), RequestID: orNil(o.Requester.GetRequestId()),
		CreatedAt: when(o.CreateTime), UpdatedAt: when(o.CreateTime), Self: "/v2/tasks/" + o.Id, Schema: "/v2/schemas/task",
	}
	switch {
	case o.EndTime != nil:
		t.UpdatedAt = when(o.EndTime)
		t.ExpiresAt = when(timestamppb.New(o.EndTime.AsTime().Add(taskLife)))
	case t.Status == taskProcessing: // it is looked after at this very moment
		t.UpdatedAt = when(timestamppb.New(s.Now()))
	}
	return t
}

func (s *Server) taskStatus(o *storev1.Operation) string {
	switch o.State {
	case storev1.OperationState_OPERATION_STATE_SUCCEEDED:
		return taskSuccess
	case storev1.OperationState_OPERATION_STATE_FAILED, storev1.OperationState_OPERATION_STATE_CANCELLED:
		return taskFailure
	}
	if waits(o) {
		return taskPending
	}
	return taskProcessing
}

// waits reports whether an import waits for its turn to be fetched.
func waits(o *storev1.Operation) bool {
	return o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT && !o.Source.GetComplete() && o.Source.GetContentId() == ""
}

// taskInput tells what was asked for. Of a URL only what holds no secret is shown.
func taskInput(o *storev1.Operation) map[string]any {
	in := map[string]any{"image_id": o.ImageId}
	switch taskType(o) {
	case taskImport:
		in["import_from"] = outside.Harmless(o.Source.GetUri())
	case taskAPI:
		method := map[string]string{"name": o.Method}
		if uri := o.Source.GetUri(); uri != "" {
			method["uri"] = outside.Harmless(uri)
		}
		in["import_req"] = map[string]any{
			"method": method, "stores": storesOf(o), "all_stores_must_succeed": o.AllMustSucceed,
		}
		in["backend"] = storesOf(o)
	}
	return in
}

func storesOf(o *storev1.Operation) []string {
	out := make([]string, len(o.Stores))
	for i, part := range o.Stores {
		out[i] = part.StoreId
	}
	return out
}

// endMessage says how an operation ended, and why.
func endMessage(o *storev1.Operation) string {
	var parts []string
	if e := o.Error; e != nil {
		parts = append(parts, e.Message)
	} else if o.State == storev1.OperationState_OPERATION_STATE_CANCELLED {
		parts = append(parts, "cancelled")
	}
	for _, part := range o.Stores {
		switch {
		case part.State == storev1.OperationState_OPERATION_STATE_SUCCEEDED:
			parts = append(parts, part.StoreId+": 100 %")
		case part.State == storev1.OperationState_OPERATION_STATE_FAILED && part.Error != nil:
			parts = append(parts, part.StoreId+": "+part.Error.Message)
		}
	}
	return strings.Join(append(parts, o.Notes...), "; ")
}

// progressMessage says how far each store is, and why it is no further.
func (s *Server) progressMessage(o *storev1.Operation) string {
	switch {
	case o.Undoing != storev1.OperationState_OPERATION_STATE_UNSPECIFIED:
		return "what was written is being removed: " + endMessage(o)
	case waits(o):
		return "waits for its turn to be downloaded"
	}
	var parts []string
	if o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT && !o.Source.GetComplete() {
		parts = append(parts, s.sourceMessage(o))
	}
	wanted := map[string]bool{}
	for _, part := range o.Stores {
		wanted[part.StoreId] = true
	}
	var done, total int64
	for _, r := range s.replicas(image.ID(o.ImageId)) {
		if !wanted[r.Store] {
			continue
		}
		parts = append(parts, r.describe())
		if done += r.BytesDone; r.BytesTotal != nil {
			total += *r.BytesTotal
		}
	}
	if total > 0 {
		parts = append([]string{fmt.Sprintf("%d %% copied", done*100/total)}, parts...)
	}
	return strings.Join(parts, "; ")
}

// sourceMessage says how much of the data has come, and of the disk that is made of it.
func (s *Server) sourceMessage(o *storev1.Operation) string {
	p := s.Importer.Progress(image.ID(o.Id))
	text := fmt.Sprintf("%s: %d MiB", incoming(o), p.Received>>20)
	if p.Expected > 0 {
		text = fmt.Sprintf("%s: %d %% of %d MiB", incoming(o), p.Received*100/p.Expected, mebibytes(p.Expected))
	}
	if p.Rate > 0 {
		text += fmt.Sprintf(" at %d MiB/s", p.Rate>>20)
	}
	switch p.Phase {
	case importer.PhaseQueued:
		return "waits for its turn"
	case importer.PhaseConverting:
		return "converting" + percent(p)
	case importer.PhaseBoth:
		return text + "; converting" + percent(p)
	}
	return text
}

// incoming says how the data of an import comes in.
func incoming(o *storev1.Operation) string {
	switch {
	case o.Source.GetStaged():
		return "reading staged data"
	case o.Source.GetUri() != "" || o.Method == importer.MethodGlanceDownload:
		return "downloading"
	}
	return "receiving"
}

// percent says how much of the disk has been made.
func percent(p importer.Progress) string {
	if p.DiskTotal == 0 {
		return ""
	}
	return fmt.Sprintf(": %d %%", int64(float64(p.DiskDone)/float64(p.DiskTotal)*100))
}

// describe says in a few words how far the copy is.
func (r replica) describe() string {
	text := fmt.Sprintf("%s: %d %%", r.Store, r.Percent)
	if r.BytesPerSecond > 0 {
		text += fmt.Sprintf(" at %d MiB/s", r.BytesPerSecond>>20)
	}
	if r.Message != nil {
		text += " (" + *r.Message + ")"
	}
	return text
}
