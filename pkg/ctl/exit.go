package ctl

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnavailable = 5
	exitPartial     = 6
	exitTimeout     = 7
	exitInterrupted = 130
)

// reasonUsage is the reason of a wrong command line; the text says it all, so it is not shown.
const reasonUsage = "USAGE"

func exitCodes() *cobra.Command {
	return &cobra.Command{
		Use:     "exit-codes",
		GroupID: groupOther,
		Short:   "Exit codes that scripts can rely on",
		Long: `Exit codes:
    0  done
    1  failed, or the operation that was waited for failed or was cancelled
    2  bad input: unknown flag, missing argument, or a value that the hub refuses
    3  the image, site, store, copy or operation does not exist
    4  the state of things forbids it: exists already, in use, protected, changed meanwhile
    5  the hub cannot be reached, or cannot serve the request now
    6  partly done: the operation succeeded, but some of its stores failed
    7  --timeout has passed; an operation that was started goes on
  130  interrupted; an operation that was started goes on`,
		Example: `  atollctl image delete debian-12
  case $? in 0|3) echo gone;; 4) echo in use;; esac`,
	}
}

// exit reports err on standard error and returns the exit code for it.
func (c *cli) exit(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := fault.As(err); !ok && !c.running { // the flag parser's own words
		err = fault.New(fault.Invalid, reasonUsage, "%s", err)
	}
	if ctx.Err() != nil && fault.Is(err, fault.Cancelled) {
		if !isLeft(err) {
			err = &left{cause: err, text: "interrupted"}
		}
		writeError(c.env.Stderr, err)
		return exitInterrupted
	}
	if e, ok := fault.As(err); ok && e.Reason == "UNREACHABLE" && !isLeft(err) {
		err = fault.New(e.Class, e.Reason, "the hub at %s cannot be reached (--hub, ATOLL_HUB)", c.target)
	}
	if c.anonymous && fault.Is(err, fault.Unauthenticated) {
		err = fault.New(fault.Unauthenticated, fault.ReasonOf(err),
			"the hub wants to know who you are: set ATOLL_TOKEN, name a cloud with --os-cloud, or set OS_AUTH_URL and the like")
	}
	writeError(c.env.Stderr, err)
	return exitCode(err)
}

func exitCode(err error) int {
	if op := new(opError); errors.As(err, &op) {
		return op.exitCode()
	}
	switch fault.ClassOf(err) {
	case fault.Invalid:
		return exitUsage
	case fault.NotFound:
		return exitNotFound
	case fault.Exists, fault.Precondition, fault.Conflict:
		return exitConflict
	case fault.Unavailable:
		return exitUnavailable
	case fault.Timeout:
		return exitTimeout
	case fault.Internal, fault.Denied, fault.Unauthenticated, fault.Exhausted, fault.Cancelled, fault.Corrupt:
		return exitFailed
	}
	return exitFailed
}

// detailed is an error with more lines to show below the first.
type detailed interface{ details() []string }

// writeError writes one line for the error, its reason in brackets, and an indented line for each detail.
func writeError(w io.Writer, err error) {
	var b strings.Builder
	text, reason := describe(err)
	b.WriteString("atollctl: " + clean(text))
	if reason != "" {
		b.WriteString(" [" + reason + "]")
	}
	b.WriteByte('\n')
	if e, ok := fault.As(err); ok {
		for _, f := range e.Fields {
			if e.Message != f.Name+": "+f.Problem {
				b.WriteString("  " + clean(f.Name+": "+f.Problem) + "\n")
			}
		}
	}
	var d detailed
	if errors.As(err, &d) {
		for _, line := range d.details() {
			b.WriteString("  " + clean(line) + "\n")
		}
	}
	_, _ = io.WriteString(w, b.String())
}

// describe returns the text of err for people and its reason, if it has one to show. Local errors that have no class are
// shown as they are: nothing about this program is secret to its own user.
func describe(err error) (text, reason string) {
	var l *left
	var op *opError
	switch {
	case errors.As(err, &l):
		return l.text, ""
	case errors.As(err, &op):
		return op.Error(), op.op.GetError().GetReason()
	}
	e, ok := fault.As(err)
	switch {
	case fault.Is(err, fault.Timeout) && (!ok || e.Reason == "TIMEOUT"):
		return "the time is up", "TIMEOUT"
	case !ok:
		return err.Error(), ""
	case e.Reason == reasonUsage:
		return e.Message, ""
	default:
		return e.Message, e.Reason
	}
}
