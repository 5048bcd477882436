// Package lifecycle runs the long-lived parts of a process and stops them together.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Task is one long-lived part of a process.
type Task struct {
	Name string
	// Run blocks until ctx ends, then returns nil or the context's error. Returning earlier stops the process.
	Run func(ctx context.Context) error
}

// Run starts all tasks and blocks until every one has returned. The first that fails, panics or returns early cancels the
// others; its error, wrapped with the task's name, is the result. Cancelling ctx stops all tasks and yields nil.
func Run(ctx context.Context, tasks ...Task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, t := range tasks {
		wg.Go(func() {
			err := call(ctx, t)
			if ctx.Err() == nil && err == nil {
				err = errors.New("ended unexpectedly")
			}
			if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
				return
			}
			once.Do(func() {
				first = fmt.Errorf("%s: %w", t.Name, err)
				cancel(first)
			})
		})
	}
	wg.Wait()
	return first
}

// call runs one task and turns a panic into an error that carries the stack.
func call(ctx context.Context, t Task) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return t.Run(ctx)
}
