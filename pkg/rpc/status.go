package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// domain is the domain of every ErrorInfo.
const domain = "atoll"

// unreachable is the reason of calls that never reached the server or lost it on the way.
const unreachable = "UNREACHABLE"

// Bounds on what an error carries: details travel in a header, and headers have a limit.
const (
	mostFields  = 16
	mostMessage = 1024
	mostProblem = 256
)

// classCodes is the mapping, indexed by class.
var classCodes = [...]codes.Code{
	fault.Internal:        codes.Internal,
	fault.Invalid:         codes.InvalidArgument,
	fault.NotFound:        codes.NotFound,
	fault.Exists:          codes.AlreadyExists,
	fault.Precondition:    codes.FailedPrecondition,
	fault.Conflict:        codes.Aborted,
	fault.Denied:          codes.PermissionDenied,
	fault.Unauthenticated: codes.Unauthenticated,
	fault.Exhausted:       codes.ResourceExhausted,
	fault.Unavailable:     codes.Unavailable,
	fault.Timeout:         codes.DeadlineExceeded,
	fault.Cancelled:       codes.Canceled,
	fault.Corrupt:         codes.DataLoss,
}

// Code returns the gRPC status code of a class, for errors that are stored.
func Code(c fault.Class) uint32 { return uint32(codeOf(c)) }

// Class returns the class of a gRPC status code; Internal for codes that Atoll does not send.
func Class(code uint32) fault.Class {
	for class, c := range classCodes {
		if uint32(c) == code {
			return fault.Class(class)
		}
	}
	switch codes.Code(code) {
	case codes.Unimplemented:
		return fault.Precondition
	case codes.OutOfRange:
		return fault.Invalid
	default:
		return fault.Internal
	}
}

func codeOf(c fault.Class) codes.Code {
	if c < 0 || int(c) >= len(classCodes) {
		return codes.Internal
	}
	return classCodes[c]
}

// ToStatus returns err as a gRPC status error with details; nil for nil. The text of errors without a class and of
// Internal ones is replaced.
func ToStatus(err error) error { return toStatus(err, "") }

func toStatus(err error, requestID string) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); !ok {
		err = FromStatus(err) // a status met on the way, such as the one of a broken stream
	}
	class := fault.ClassOf(err)
	s := status.New(codeOf(class), clip(fault.Public(err), mostMessage))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: fault.ReasonOf(err), Domain: domain}}
	if class == fault.Internal {
		details[0] = &errdetails.ErrorInfo{Reason: "INTERNAL", Domain: domain}
	}
	if e, ok := fault.As(err); ok && len(e.Fields) > 0 {
		details = append(details, badRequest(e.Fields))
	}
	if requestID != "" {
		details = append(details, &errdetails.RequestInfo{RequestId: requestID})
	}
	if with, err := s.WithDetails(details...); err == nil {
		s = with
	}
	return s.Err()
}

func badRequest(fields []fault.Field) *errdetails.BadRequest {
	if len(fields) > mostFields {
		fields = fields[:mostFields]
	}
	d := &errdetails.BadRequest{}
	for _, f := range fields {
		d.FieldViolations = append(d.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: clip(f.Name, mostProblem), Description: clip(f.Problem, mostProblem),
		})
	}
	return d
}

// FromStatus returns the fault error that a gRPC status error stands for, with the status as its cause. nil, io.EOF and
// errors that are no statuses are returned as they are.
func FromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := &fault.Error{Class: Class(uint32(s.Code())), Message: s.Message()}
	requestID := ""
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				e.Reason = d.GetReason()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Fields = append(e.Fields, fault.Field{Name: v.GetField(), Problem: v.GetDescription()})
			}
		case *errdetails.RequestInfo:
			requestID = d.GetRequestId()
		}
	}
	if e.Reason != "" { // the other side said it
		if e.Class == fault.Internal && requestID != "" {
			e.Message += " (request " + requestID + ")"
		}
		return e
	}
	return local(e, s.Code(), err)
}

// local completes an error that gRPC itself made: the other side's code never saw the call, or never answered it.
func local(e *fault.Error, code codes.Code, err error) error {
	e.Cause = err
	switch code {
	case codes.Unavailable:
		e.Reason, e.Message = unreachable, "the server cannot be reached"
	case codes.Unimplemented:
		e.Reason, e.Message = "UNIMPLEMENTED", "the server does not know this call; it may be older than this program"
	case codes.ResourceExhausted:
		e.Reason, e.Message = "MESSAGE_TOO_LARGE", "a message is larger than the limit"
	case codes.Canceled:
		e.Reason, e.Message = "CANCELLED", "the call was cancelled"
		e.Cause = errors.Join(context.Canceled, err)
	case codes.DeadlineExceeded:
		e.Reason, e.Message = "TIMEOUT", "the call took too long"
		e.Cause = errors.Join(context.DeadlineExceeded, err)
	default:
		e.Reason, e.Message = "INTERNAL", "unexpected answer from the server"
	}
	return e
}

// clip bounds a text without cutting a character in two.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most] + "..."
}
