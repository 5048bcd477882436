package glance

import (
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Types of tasks.
const (
	taskImport   = "import" // asked for as a task
	taskAPI      = "api_image_import"
	taskLocation = "location_import"
)

// Statuses of tasks.
const (
	taskPending    = "pending"
	taskProcessing = "processing"
	taskSuccess    = "success"
	taskFailure    = "failure"
)

// taskLife is how long an operation is kept after its end.
const taskLife = 30 * 24 * time.Hour

// taskStub is a task in a list.
type taskStub struct {
	ID        string  `json:"id"`
	Type      string  `json:"type"`
	Status    string  `json:"status"`
	Owner     *string `json:"owner"`
	ImageID   string  `json:"image_id"`
	RequestID *string `json:"request_id"`
	UserID    *string `json:"user_id"`
	CreatedAt *string `json:"created_at"`
	UpdatedAt *string `json:"updated_at"`
	ExpiresAt *string `json:"expires_at"`
	Self      string  `json:"self"`
	Schema    string  `json:"schema"`
}

// taskFull is a task by itself.
type taskFull struct {
	taskStub
	Input   map[string]any    `json:"input"`
	Result  map[string]string `json:"result"`
	Message string            `json:"message"`
}

// taskRow is a task of an image, whose form has always been another one.
type taskRow struct {
	ID        string            `json:"id"`
	ImageID   string            `json:"image_id"`
	RequestID *string           `json:"request_id"`
	UserID    *string           `json:"user_id"`
	Type      string            `json:"type"`
	Status    string            `json:"status"`
	Owner     *string           `json:"owner"`
	ExpiresAt *string           `json:"expires_at"`
	CreatedAt *string           `json:"created_at"`
	UpdatedAt *string           `json:"updated_at"`
	Deleted   bool              `json:"deleted"`
	DeletedAt *string           `json:"deleted_at"`
	Input     map[string]any    `json:"input"`
	Result    map[string]string `json:"result"`
	Message   string            `json:"message"`
}

// imageTasks lists what has been done to fill the stores of an image, latest first. The owner sees all of it, and so do
// administrators; others see what their own project has asked for.
func (s *Server) imageTasks(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, c, err := s.reads.Find(r, "get_image")
	if err != nil {
		return err
	}
	all := s.admin(c) || img.Owner != "" && img.Owner == c.ProjectID
	rows := []taskRow{}
	for _, o := range s.Catalog.Read().Operations() {
		if o.ImageId != string(img.ID) || taskType(o) == "" || !all && o.Requester.GetProjectId() != c.ProjectID {
			continue
		}
		t := s.task(o)
		rows = append(rows, taskRow{
			ID: t.ID, ImageID: t.ImageID, RequestID: t.RequestID, UserID: t.UserID, Type: t.Type, Status: t.Status, Owner: t.Owner,
			ExpiresAt: t.ExpiresAt, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, Input: t.Input, Result: t.Result, Message: t.Message,
		})
	}
	return imageapi.WriteJSON(w, http.StatusOK, map[string][]taskRow{"tasks": rows})
}

// showTask tells everything about a task.
func (s *Server) showTask(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	if err := s.mayTasks(r); err != nil {
		return err
	}
	name := r.PathValue("task")
	o, _ := s.Catalog.Read().Operation(image.ID(name))
	if o == nil || taskType(o) == "" {
		return fault.New(fault.NotFound, "TASK_NOT_FOUND", "No task found with ID %s", quoted(name))
	}
	return imageapi.WriteJSON(w, http.StatusOK, s.task(o))
}

// mayTasks returns an error unless the caller may use the tasks API.
func (s *Server) mayTasks(r *http.Request) error {
	if !s.Policy.Allowed(auth.From(r.Context()), "tasks_api_access", nil) {
		return notAllowed("tasks_api_access")
	}
	return nil
}

// taskType returns the type of the task that an operation is; empty for operations that are none, such as deletes, and
// uploads, whose callers are told by their answer.
func taskType(o *storev1.Operation) string {
	switch o.Kind {
	case storev1.OperationKind_OPERATION_KIND_IMPORT:
		switch {
		case o.Source.GetDirect():
			return ""
		case o.Method == taskImport:
			return taskImport
		}
		return taskAPI
	case storev1.OperationKind_OPERATION_KIND_COPY:
		return taskAPI
	case storev1.OperationKind_OPERATION_KIND_ADOPT:
		return taskLocation
	default:
		return ""
	}
}
