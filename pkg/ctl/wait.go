package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/client"
	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// waitFlag adds --wait.
func waitFlag(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", true, "wait until it is done and show progress; --wait=false prints the operation's id and returns")
}

// finish waits for an operation if it should and shows what came of it: the operation itself as JSON or YAML, else what
// table writes once it has succeeded, at least in part.
func (c *cli) finish(ctx context.Context, op *hubv1.Operation, wait bool, table func(*hubv1.Operation) error) error {
	if !wait {
		return c.started(op)
	}
	p := c.newProgress()
	op, err := c.follow(ctx, op, p)
	p.close()
	if err != nil {
		return err
	}
	return c.outcome(op, table)
}

// started shows an operation that is not waited for.
func (c *cli) started(op *hubv1.Operation) error {
	if c.format != asTable {
		return c.show(op, nil)
	}
	_, _ = fmt.Fprintf(c.env.Stderr, "not waiting; follow it with: %s\n", c.hint("operation wait "+op.GetId()))
	_, err := fmt.Fprintln(c.env.Stdout, op.GetId())
	return err
}

// follow blocks until the operation is done, feeding p.
func (c *cli) follow(ctx context.Context, op *hubv1.Operation, p *progress) (*hubv1.Operation, error) {
	p.update(op)
	if client.Done(op) {
		return op, nil
	}
	end, err := c.hub.FollowOperation(ctx, op.GetId(), p.follower())
	if err == nil {
		return end, nil
	}
	switch fault.ClassOf(err) {
	case fault.Cancelled, fault.Timeout, fault.Unavailable:
		return nil, c.leave(op, err)
	default:
		return nil, err
	}
}

// outcome shows a finished operation and returns an error unless all of it succeeded.
func (c *cli) outcome(op *hubv1.Operation, table func(*hubv1.Operation) error) error {
	for _, note := range op.GetNotes() {
		_, _ = io.WriteString(c.env.Stderr, "note: "+clean(note)+"\n")
	}
	failure := failureOf(op)
	if c.format != asTable {
		if err := c.show(op, nil); err != nil {
			return err
		}
	} else if op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
		if err := table(op); err != nil {
			return err
		}
	}
	if failure != nil {
		return failure
	}
	return nil
}

// hint returns a command line that reaches the same hub.
func (c *cli) hint(args string) string {
	hub := c.env.Getenv("ATOLL_HUB")
	if hub == "" {
		hub = defaultHub
	}
	if c.target != hub {
		return "atollctl --hub " + c.target + " " + c.hintFlags() + args
	}
	return "atollctl " + c.hintFlags() + args
}

// left is an error that ended the waiting, not the operation.
type left struct {
	cause error
	text  string
	hints []string
}

// Error returns what ended the waiting.
func (l *left) Error() string { return l.text }

// Unwrap returns the cause.
func (l *left) Unwrap() error { return l.cause }

func (l *left) details() []string { return l.hints }

// leave returns the error for waiting that ended before the operation did.
func (c *cli) leave(op *hubv1.Operation, cause error) error {
	hints := []string{"follow it: " + c.hint("operation wait "+op.GetId())}
	if !isDelete(op) {
		hints = append(hints, "stop it:   "+c.hint("operation cancel "+op.GetId()))
	}
	return &left{cause: cause, text: why(cause) + "; operation " + op.GetId() + " goes on", hints: hints}
}

// why says what ended the waiting.
func why(cause error) string {
	switch fault.ClassOf(cause) {
	case fault.Timeout:
		return "the time is up"
	case fault.Unavailable:
		return "the hub does not answer any more"
	default:
		return "interrupted"
	}
}

// isLeft reports whether err ended the waiting only.
func isLeft(err error) bool {
	var l *left
	return errors.As(err, &l)
}
