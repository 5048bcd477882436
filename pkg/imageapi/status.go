package imageapi

import (
	"errors"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// statusError is an error that is answered with a status of its own instead of that of its class.
type statusError struct {
	error
	code int
}

// Unwrap returns the error itself.
func (e *statusError) Unwrap() error { return e.error }

// Status returns err, to be answered with the HTTP status code. The text of the answer stays that of err. Nil stays nil.
func Status(err error, code int) error {
	if err == nil {
		return nil
	}
	return &statusError{error: err, code: code}
}

// StatusOf returns the HTTP status that err is answered with: the one given with Status, else that of its class.
func StatusOf(err error) int {
	var s *statusError
	if errors.As(err, &s) {
		return s.code
	}
	switch fault.ClassOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Exists, fault.Precondition, fault.Conflict:
		return http.StatusConflict
	case fault.Denied:
		return http.StatusForbidden
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Exhausted:
		return http.StatusRequestEntityTooLarge
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Timeout:
		return http.StatusGatewayTimeout
	case fault.Cancelled:
		return http.StatusGone
	case fault.Internal, fault.Corrupt:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}
