package ctl

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

const (
	completeTimeout = 1500 * time.Millisecond
	mostCompletions = 200
)

// lister yields what can be typed for one argument, each followed by a tab and a description. It stops when add
// returns false.
type lister func(ctx context.Context, add func(name, description string) bool) error

// complete returns the completion of positional arguments: one lister for each. Failures are silent, since the shell
// would show them in the middle of the line.
func (c *cli) complete(listers ...lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(listers) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.list(cmd.Context(), listers[len(args)]), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag is complete for the value of a flag.
func (c *cli) completeFlag(cmd *cobra.Command, flag string, l lister) {
	must(cmd.RegisterFlagCompletionFunc(flag,
		func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return c.list(cmd.Context(), l), cobra.ShellCompDirectiveNoFileComp
		}))
}

func (c *cli) list(ctx context.Context, l lister) []cobra.Completion {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	if c.hub == nil && c.dial() != nil {
		return nil
	}
	var found []cobra.Completion
	err := l(ctx, func(name, description string) bool {
		found = append(found, cobra.CompletionWithDesc(clean(name), clean(description)))
		return len(found) < mostCompletions
	})
	if err != nil {
		return nil
	}
	return found
}

// images lists names that are unique among the first images, else ids.
func (c *cli) images(ctx context.Context, add func(string, string) bool) error {
	var found []*hubv1.Image
	names := map[string]int{}
	for img, err := range c.hub.AllImages(ctx, &hubv1.ListImagesRequest{}) {
		if err != nil {
			return err
		}
		names[img.GetName()]++
		if found = append(found, img); len(found) == mostCompletions {
			break
		}
	}
	for _, img := range found {
		name, description := img.GetName(), word(img.GetStatus(), "IMAGE_STATUS_")
		if name == "" || names[name] > 1 {
			name, description = img.GetId(), img.GetName()
		}
		if !add(name, description) {
			return nil
		}
	}
	return nil
}

func (c *cli) stores(ctx context.Context, add func(string, string) bool) error {
	for s, err := range c.hub.AllStores(ctx) {
		if err != nil {
			return err
		}
		if !add(s.GetId(), "site "+s.GetSiteId()) {
			return nil
		}
	}
	return nil
}

func (c *cli) sites(ctx context.Context, add func(string, string) bool) error {
	for s, err := range c.hub.AllSites(ctx) {
		if err != nil {
			return err
		}
		if !add(s.GetId(), s.GetDescription()) {
			return nil
		}
	}
	return nil
}

// operations lists operations of every state; running ones lists those that can be waited for or cancelled.
func (c *cli) operations(runningOnly bool) lister {
	return func(ctx context.Context, add func(string, string) bool) error {
		for op, err := range c.hub.AllOperations(ctx, &hubv1.ListOperationsRequest{RunningOnly: runningOnly}) {
			if err != nil {
				return err
			}
			if !add(op.GetId(), kindWord(op)+" of "+op.GetImageId()) {
				return nil
			}
		}
		return nil
	}
}
