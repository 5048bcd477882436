// Package ctl is the command line program atollctl: one file per verb, on top of package client.
//
// Results go to standard output and nothing else does; progress, remarks and errors go to standard error. Exit codes are
// part of the interface, see exit.go.
package ctl

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/atoll-dcn/atoll/pkg/client"
)

// Env is what the program sees of the world.
type Env struct {
	Version        string // empty: ask the compiler
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	// Size returns the columns and rows of the terminal that a stream is connected to; ok is false if it is none.
	Size func(stream any) (cols, rows int, ok bool)

	// within bounds a context by --timeout, or by the patience of completion; nil: context.WithTimeout.
	within func(context.Context, time.Duration) (context.Context, context.CancelFunc)
}

// Main runs atollctl with the arguments, streams and signals of this process and returns its exit code. version is what
// the program calls itself; empty means what the compiler stamped into it. The first SIGINT or SIGTERM ends what is being
// done in an orderly way, the second one kills.
func Main(ctx context.Context, version string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, os.Args[1:], Env{
		Version: version, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, Size: terminalSize,
	})
}

// Run runs atollctl and returns its exit code. Cancelling ctx interrupts it.
func Run(ctx context.Context, args []string, env Env) int {
	if env.within == nil {
		env.within = context.WithTimeout
	}
	c := &cli{env: env}
	root := c.root() //nolint:contextcheck // the context comes with the execution below
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if c.hub != nil {
		_ = c.hub.Close()
	}
	return c.exit(ctx, err)
}

// terminalSize is Env.Size for real streams.
func terminalSize(stream any) (cols, rows int, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		cols, rows = 80, 24
	}
	return cols, rows, true
}

// cli is one run of the program.
type cli struct {
	env     Env
	target  string // --hub
	format  format // --output
	timeout time.Duration
	running bool // arguments were fine and the verb has begun
	access  access
	hub     *client.Client
	// anonymous: nothing says who calls.
	anonymous bool
}

// verb wraps the body of a command: it dials the hub and bounds the time.
func (c *cli) verb(body func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return c.local(func(ctx context.Context, args []string) error {
		if err := c.dial(); err != nil {
			return err
		}
		return body(ctx, args)
	})
}
