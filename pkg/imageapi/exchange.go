package imageapi

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// logged is how many bytes of a path are logged.
const logged = 256

// exchange is one request being answered.
type exchange struct {
	http.ResponseWriter
	service *service
	begin   time.Time
	id      string
	route   string // pattern, for the measurements
	caller  *auth.Caller
	code    int // 0 until the answer begins
	bytes   int64
}

// Unwrap returns the writer below, for http.ResponseController.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader begins the answer.
func (e *exchange) WriteHeader(code int) {
	if e.code == 0 && code >= http.StatusOK {
		e.code = code
	}
	e.ResponseWriter.WriteHeader(code)
}

// Write sends a part of the body.
func (e *exchange) Write(b []byte) (int, error) {
	if e.code == 0 {
		e.code = http.StatusOK
	}
	n, err := e.ResponseWriter.Write(b)
	e.bytes += int64(n)
	return n, err
}

// fail answers with an error. An answer that has begun is cut, so that the client notices.
func (e *exchange) fail(r *http.Request, err error) {
	switch fault.ClassOf(err) {
	case fault.Internal, fault.Corrupt:
		e.service.log.Error("request failed", "request", e.id, "method", r.Method, "path", clipTo(r.URL.Path, logged), "error", err)
	case fault.Unavailable, fault.Timeout:
		e.service.log.Warn("request failed", "request", e.id, "method", r.Method, "path", clipTo(r.URL.Path, logged), "error", err)
	default:
		e.service.log.Debug("request refused", "request", e.id, "reason", fault.ReasonOf(err), "error", err)
	}
	if e.code != 0 {
		panic(http.ErrAbortHandler)
	}
	writeError(e, r, err)
	e.linger(r)
}

// end turns a panic into an answer, and logs and measures the request.
func (e *exchange) end(r *http.Request) {
	problem := recover()
	if problem != nil {
		e.panicked(r, problem)
	}
	code := e.code
	if code == 0 {
		code = http.StatusOK // what the server sends for a handler that wrote nothing
	}
	took := time.Since(e.begin)
	e.service.times.observe(r.Method, e.route, code, took)
	if log := e.service.log; log.IsInfo() {
		var user, project string
		if e.caller != nil {
			user, project = e.caller.UserID, e.caller.ProjectID
		}
		log.Info("request", "request", e.id, "method", r.Method, "path", clipTo(r.URL.Path, logged), "status", code,
			"bytes", e.bytes, "took", took, "user", user, "project", project)
	}
	if problem != nil && e.cut(problem) {
		panic(http.ErrAbortHandler)
	}
}

// panicked answers a request whose handler has panicked, if that is still possible.
func (e *exchange) panicked(r *http.Request, problem any) {
	if err, ok := problem.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return
	}
	e.service.log.Error("handler panicked", "request", e.id, "method", r.Method, "path", clipTo(r.URL.Path, logged),
		"panic", fmt.Sprint(problem), "stack", string(debug.Stack()))
	if e.code == 0 {
		writeError(e, r, fault.New(fault.Internal, "PANIC", "the handler panicked"))
		return
	}
	e.code = -1
}

// cut reports whether the connection has to be cut after a panic: the answer had begun.
func (e *exchange) cut(problem any) bool {
	err, ok := problem.(error)
	return e.code == -1 || ok && errors.Is(err, http.ErrAbortHandler)
}
