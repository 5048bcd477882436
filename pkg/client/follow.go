package client

import (
	"context"
	"errors"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Follower is told what happens to an operation. Its functions may be nil; they are called one at a time, from the
// goroutine that called FollowOperation, and must not block for long.
type Follower struct {
	// Update is called with every state of the operation, the last one included.
	Update func(*hubv1.Operation)
	// Lost is called when the hub does not answer and before each wait for it.
	Lost func(err error)
}

// Done reports whether an operation has ended, well or not.
func Done(op *hubv1.Operation) bool {
	switch op.GetState() {
	case hubv1.OperationState_OPERATION_STATE_SUCCEEDED,
		hubv1.OperationState_OPERATION_STATE_FAILED,
		hubv1.OperationState_OPERATION_STATE_CANCELLED:
		return true
	default:
		return false
	}
}

// FollowOperation blocks until the operation is done and returns it as it then is; whether it succeeded is for the caller
// to see. A hub that restarts or cannot be reached is asked again and again until it has been silent for
// Options.Patience. A token that ends meanwhile is renewed if it can be. When ctx ends, the error is of class Cancelled or
// Timeout and the operation goes on.
func (c *Client) FollowOperation(ctx context.Context, id string, f Follower) (*hubv1.Operation, error) {
	waits := c.retry.Backoff()
	silent := c.patience
	renew := true
	for {
		op, err := c.watch(ctx, id, func(op *hubv1.Operation) {
			waits.Reset()
			silent, renew = c.patience, true
			if f.Update != nil {
				f.Update(op)
			}
		})
		if renew && fault.Is(err, fault.Unauthenticated) && c.renewed(ctx) {
			renew = false // once; a fresh token that is refused too will not get better
			continue
		}
		if err == nil || ctx.Err() != nil || !worthAsking(err) {
			return op, err
		}
		wait := waits.Next()
		if silent -= wait; silent <= 0 {
			return nil, err
		}
		if f.Lost != nil {
			f.Lost(err)
		}
		if retry.Sleep(ctx, wait) != nil {
			return nil, ctx.Err()
		}
	}
}

// watch watches once. It returns the operation only when it is done.
func (c *Client) watch(ctx context.Context, id string, update func(*hubv1.Operation)) (*hubv1.Operation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Operations.WatchOperation(ctx, &hubv1.WatchOperationRequest{Id: id})
	if err != nil {
		return nil, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, fault.New(fault.Unavailable, "WATCH_ENDED", "the hub ended the watch of an operation that is not done")
		}
		if err != nil {
			return nil, err
		}
		update(m.GetOperation())
		if Done(m.GetOperation()) {
			return m.GetOperation(), nil
		}
	}
}

// worthAsking reports whether a watch that failed like this may be started again. The caller's own context is alive, so
// Cancelled and Timeout are the hub's doing: it is stopping or too busy.
func worthAsking(err error) bool {
	switch fault.ClassOf(err) {
	case fault.Unavailable, fault.Conflict, fault.Timeout, fault.Cancelled:
		return true
	default:
		return false
	}
}
