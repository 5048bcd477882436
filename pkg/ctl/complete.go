package ctl

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

const (
	completeTimeout = 1500 * time.Millisecond
	mostCompletions = 200
)

// adder takes a word that can be typed and its description; it returns false when there are enough.
type adder func(word, description string) bool

// lister yields what can be typed for one argument; typed is what is there already.
type lister func(ctx context.Context, typed string, add adder) error

// complete returns the completion of positional arguments: one lister for each. Failures are silent, since the shell
// would show them in the middle of the line.
func (c *cli) complete(listers ...lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(listers) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.list(cmd.Context(), listers[len(args)], typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag is complete for the value of a flag; of a list it completes the last item.
func (c *cli) completeFlag(cmd *cobra.Command, flag string, l lister) {
	must(cmd.RegisterFlagCompletionFunc(flag,
		func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			before, last := "", typed
			if cmd.Flag(flag).Value.Type() == "stringSlice" {
				before = typed[:strings.LastIndexByte(typed, ',')+1]
				last = typed[len(before):]
			}
			found := c.list(cmd.Context(), l, last)
			for i := range found {
				found[i] = before + found[i]
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		}))
}

func (c *cli) list(ctx context.Context, l lister, typed string) []cobra.Completion {
	ctx, cancel := c.env.within(ctx, completeTimeout)
	defer cancel()
	if c.hub == nil && c.dial() != nil {
		return nil
	}
	var found []cobra.Completion
	err := l(ctx, typed, func(word, description string) bool {
		if strings.HasPrefix(word, typed) {
			found = append(found, cobra.CompletionWithDesc(word, clean(description)))
		}
		return len(found) < mostCompletions
	})
	if err != nil {
		return nil
	}
	return found
}

// images lists the names that are unique among the first images and can be typed, else ids; all ids that begin as typed.
func (c *cli) images(ctx context.Context, typed string, add adder) error {
	var found []*hubv1.Image
	names := map[string]int{}
	for img, err := range c.hub.AllImages(ctx, &hubv1.ListImagesRequest{IncludeHidden: true}) {
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
		if name == "" || names[name] > 1 || clean(name) != name || typed != "" && strings.HasPrefix(img.GetId(), typed) {
			name, description = img.GetId(), img.GetName()
		}
		if !add(name, description) {
			return nil
		}
	}
	return nil
}

func (c *cli) stores(ctx context.Context, _ string, add adder) error {
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

func (c *cli) sites(ctx context.Context, _ string, add adder) error {
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
	return func(ctx context.Context, _ string, add adder) error {
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
