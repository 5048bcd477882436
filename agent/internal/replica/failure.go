package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// storeError marks an error of the site's store, as opposed to one of the hub.
type storeError struct{ err error }

// Error returns the text of the error.
func (e *storeError) Error() string { return "store: " + e.err.Error() }

// Unwrap returns the error.
func (e *storeError) Unwrap() error { return e.err }

// atStore marks err; nil stays nil.
func atStore(err error) error {
	if err == nil || isStore(err) {
		return err
	}
	return &storeError{err: err}
}

// isStore reports whether err is one of the site's store.
func isStore(err error) bool {
	var store *storeError
	return errors.As(err, &store)
}

// failureOf returns what the hub is told about err.
func failureOf(err error) *agentv1.Failure {
	f := &agentv1.Failure{Reason: fault.ReasonOf(err), Message: fault.Public(err), Retryable: fault.Retryable(err)}
	if !isStore(err) {
		return f
	}
	switch fault.ClassOf(err) {
	case fault.Timeout, fault.Cancelled:
		f.Reason, f.Message, f.Retryable = "STORE_UNREACHABLE", "the store does not answer", true
	case fault.Internal:
		// Not foreseen, so it may pass; the hub bounds how often it tries.
		f.Reason, f.Message, f.Retryable = "STORE_ERROR", "the store reports an error; see the agent's log", true
	case fault.Precondition:
		f.Retryable = f.Reason == "IN_USE" // somebody has the image open for the moment
	default:
	}
	return f
}

// failed returns the outcome of a goal that was not reached, and logs the cause.
func (m *Manager) failed(ctx context.Context, j job, err error) outcome {
	if ctx.Err() == nil {
		m.log.Debug("step failed", "image", j.key.Image, "store", j.key.Store, "error", err)
	}
	return outcome{state: agentv1.ReplicaState_REPLICA_STATE_FAILED, failure: failureOf(err)}
}

// refused returns the outcome of a goal that cannot be reached as things stand.
func refused(reason, format string, args ...any) outcome {
	return outcome{
		state:   agentv1.ReplicaState_REPLICA_STATE_FAILED,
		failure: &agentv1.Failure{Reason: reason, Message: fmt.Sprintf(format, args...)},
	}
}

// unknownStore answers for a store that the site does not have (any more).
func (m *Manager) unknownStore(ctx context.Context, j job) outcome {
	if j.want.goal == goalForgotten {
		if err := m.cfg.Journal.Remove(j.key); err != nil {
			return m.failed(ctx, j, err)
		}
		return outcome{vanished: true}
	}
	return refused("STORE_UNKNOWN", "the site has no store %s", j.key.Store)
}

// gone reports whether the hub cannot serve the content any more, so that only a new goal helps.
func gone(err error) bool {
	return !isStore(err) && (fault.Is(err, fault.NotFound) || fault.ReasonOf(err) == manifest.ReasonGone)
}

// hubWait reports whether an error of the hub passes without anybody asking for something else: the link is down, the
// chunk has not arrived, the certificate is being renewed.
func hubWait(err error) bool {
	switch fault.ClassOf(err) {
	case fault.Invalid, fault.NotFound, fault.Precondition, fault.Corrupt:
		return false
	default:
		return true
	}
}

// jitter spreads d over ±50 %.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // no secret
}
