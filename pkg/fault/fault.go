// Package fault gives every error of Atoll a class, a stable reason and a message that may be shown to users.
//
// Code that detects a problem creates or wraps an error here; everything between wraps with %w; the wire mappings
// (package rpc for gRPC, the Image API for HTTP) turn the outermost *Error into a status. What is not a *Error is
// Internal, and its text is never shown to users.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Class says what kind of problem an error is and so what a caller can do about it.
type Class int

// The classes. Each maps to one gRPC code and one HTTP status.
const (
	Internal        Class = iota // a bug or an unforeseen failure; the text is hidden from users
	Invalid                      // the request can never succeed as it is
	NotFound                     // the thing does not exist
	Exists                       // the thing exists already
	Precondition                 // the state of the system forbids it now; look again, then decide
	Conflict                     // lost a race; read again and repeat
	Denied                       // the caller is known and may not
	Unauthenticated              // the caller is not known
	Exhausted                    // a limit has been reached
	Unavailable                  // try again later
	Timeout                      // the outcome is not known
	Cancelled                    // the caller gave up; the outcome is not known
	Corrupt                      // data differs from its digest
)

var classNames = [...]string{
	"internal", "invalid", "not found", "exists", "precondition", "conflict", "denied", "unauthenticated",
	"exhausted", "unavailable", "timeout", "cancelled", "corrupt",
}

// String returns the class in lower case.
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return fmt.Sprintf("class(%d)", int(c))
	}
	return classNames[c]
}

// Field is one invalid field of a request.
type Field struct {
	Name    string // path of the field as the user wrote it, such as "target.stores[1]"
	Problem string // what is wrong and what would be right
}

// Error is an error with a class. The zero value is not useful; use New, Wrap or BadField.
type Error struct {
	Class   Class
	Reason  string  // stable, upper case with underscores; clients may switch on it
	Message string  // for people; never holds keys, file paths or addresses of the inside
	Fields  []Field // for Invalid: which fields
	Cause   error   // logged, never shown
}

// Error returns the message and, for logs, the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns an error of a class with a stable reason and a message for users.
func New(class Class, reason, format string, args ...any) *Error {
	return &Error{Class: class, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause that is logged but not shown to users.
func Wrap(cause error, class Class, reason, format string, args ...any) *Error {
	e := New(class, reason, format, args...)
	e.Cause = cause
	return e
}

// BadField returns an Invalid error about one field of a request.
func BadField(name, format string, args ...any) *Error {
	problem := fmt.Sprintf(format, args...)
	return &Error{
		Class: Invalid, Reason: "INVALID_FIELD", Message: name + ": " + problem,
		Fields: []Field{{Name: name, Problem: problem}},
	}
}

// As returns the outermost *Error in err's chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// ClassOf returns the class of err: that of the outermost *Error, Cancelled or Timeout for context errors, else Internal.
func ClassOf(err error) Class {
	if e, ok := As(err); ok {
		return e.Class
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Is reports whether err is of the class.
func Is(err error, class Class) bool { return err != nil && ClassOf(err) == class }

// ReasonOf returns the stable reason of err, "INTERNAL" when it has none.
func ReasonOf(err error) string {
	if e, ok := As(err); ok && e.Reason != "" {
		return e.Reason
	}
	switch ClassOf(err) {
	case Cancelled:
		return "CANCELLED"
	case Timeout:
		return "TIMEOUT"
	default:
		return "INTERNAL"
	}
}

// Public returns the text of err that may be shown to users. Errors without a class yield a text that says nothing.
func Public(err error) string {
	if e, ok := As(err); ok && e.Class != Internal {
		return e.Message
	}
	switch ClassOf(err) {
	case Cancelled:
		return "the request was cancelled"
	case Timeout:
		return "the request took too long"
	default:
		return "internal error; see the log for details"
	}
}

// Retryable reports whether the same request may succeed later without anybody changing anything.
func Retryable(err error) bool {
	switch ClassOf(err) {
	case Unavailable, Timeout, Conflict, Corrupt:
		return true
	default:
		return false
	}
}
