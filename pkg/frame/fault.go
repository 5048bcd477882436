package frame

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// ReasonPending is the reason of the Unavailable error about a chunk that has not arrived in time; ask again at once.
const ReasonPending = "FRAME_PENDING"

// problem is the body of an answer that is an error.
type problem struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// maxProblem bounds how much of a problem is read.
const maxProblem = 4 << 10

// statuses maps classes to HTTP statuses. Precondition is 410 when the content is gone.
var statuses = map[fault.Class]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Corrupt:         http.StatusConflict,
	fault.Precondition:    http.StatusPreconditionFailed,
	fault.Exhausted:       http.StatusServiceUnavailable,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.Internal:        http.StatusInternalServerError,
}

// classes maps HTTP statuses back; any other is Unavailable.
var classes = map[int]fault.Class{
	http.StatusBadRequest:            fault.Invalid,
	http.StatusRequestEntityTooLarge: fault.Invalid,
	http.StatusUnauthorized:          fault.Unauthenticated,
	http.StatusForbidden:             fault.Denied,
	http.StatusNotFound:              fault.NotFound,
	http.StatusConflict:              fault.Corrupt,
	http.StatusPreconditionFailed:    fault.Precondition,
	http.StatusGone:                  fault.Precondition,
}

// WriteFault answers a request with an error: its status, Retry-After where repeating helps, and {"reason","message"}.
// Middleware in front of the handler uses it too, so that the client understands its refusals.
func WriteFault(w http.ResponseWriter, err error) {
	class, reason := fault.ClassOf(err), fault.ReasonOf(err)
	status, ok := statuses[class]
	switch {
	case reason == manifest.ReasonGone:
		status = http.StatusGone
	case !ok:
		status = http.StatusInternalServerError
	}
	if status == http.StatusServiceUnavailable {
		after := "1"
		if reason == ReasonPending {
			after = "0"
		}
		w.Header().Set("Retry-After", after)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{Reason: reason, Message: fault.Public(err)})
}

// readFault turns an answer that is not a success into an error.
func readFault(resp *http.Response) error {
	class, ok := classes[resp.StatusCode]
	if !ok {
		class = fault.Unavailable
	}
	var p problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // to its end, so that the connection can be used again
	if err != nil || json.Unmarshal(b, &p) != nil || p.Reason == "" {
		p = problem{Reason: "HTTP_STATUS", Message: "the hub answered " + resp.Status}
	}
	if resp.StatusCode == http.StatusGone {
		p.Reason = manifest.ReasonGone
	}
	return fault.New(class, p.Reason, "%s", p.Message)
}

// transportFault classes an error of the HTTP client.
func transportFault(ctx context.Context, err error) error {
	if _, ok := fault.As(err); ok {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fault.Wrap(err, fault.Unauthenticated, "HUB_UNTRUSTED", "the hub's certificate is not trusted")
	}
	return fault.Wrap(err, fault.Unavailable, "HUB_UNREACHABLE", "the hub cannot be reached")
}

// cut classes the early end of a body.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Wrap(err, fault.Unavailable, "FRAME_CUT", "the frame ended early")
	}
	return err
}
