package ctl

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageCopy() *cobra.Command {
	var t target
	var wait bool
	var priority string
	cmd := &cobra.Command{
		Use:   "copy IMAGE (--stores STORE,... | --all-stores)",
		Short: "Copy an active image to more stores",
		Long: `Copy an active image to more stores. A store that has a copy already is refused when named and skipped with
--all-stores; a store that is being filled already is joined.

--priority says how the copies stand against others of their sites: those with a higher one are filled first and, under a
limit, their data goes first. A copy that is joined is raised to it, never lowered. Copies that instances wait for are raised
by themselves at sites whose agents serve the Image API.`,
		Example: "  atollctl image copy debian-12 --stores dcn0,dcn1\n  atollctl image copy debian-12 --all-stores" +
			"\n  atollctl image copy debian-12 --stores dcn0 --priority high",
		Args:                  takes("IMAGE"),
		ValidArgsFunction:     c.complete(c.images),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = c.verb(func(ctx context.Context, args []string) error {
		if err := t.check(cmd); err != nil {
			return err
		}
		if !t.all && len(t.stores) == 0 {
			return fault.BadField("--stores", "name the stores to copy to, or use --all-stores")
		}
		prio, err := parsePriority(priority)
		if err != nil {
			return err
		}
		id, err := c.imageID(ctx, args[0])
		if err != nil {
			return err
		}
		sel, err := t.selection(ctx, c)
		if err != nil {
			return err
		}
		res, err := c.hub.Replicas.ReplicateImage(ctx, &hubv1.ReplicateImageRequest{ImageId: id, Target: sel, Priority: prio})
		if err != nil {
			return err
		}
		return c.finish(ctx, res.GetOperation(), wait, func(op *hubv1.Operation) error { return c.showImageOf(ctx, op) })
	})
	c.targetFlags(cmd, &t)
	waitFlag(cmd, &wait)
	cmd.Flags().StringVar(&priority, "priority", "normal", "low, normal or high")
	return cmd
}

// parsePriority returns a priority.
func parsePriority(text string) (hubv1.Priority, error) {
	switch text {
	case "low":
		return hubv1.Priority_PRIORITY_LOW, nil
	case "normal":
		return hubv1.Priority_PRIORITY_NORMAL, nil
	case "high":
		return hubv1.Priority_PRIORITY_HIGH, nil
	default:
		return 0, fault.BadField("--priority", "%q is not low, normal or high", text)
	}
}

// showImageOf writes the image that an operation was about, as it is now.
func (c *cli) showImageOf(ctx context.Context, op *hubv1.Operation) error {
	res, err := c.hub.Images.GetImage(ctx, &hubv1.GetImageRequest{Id: op.GetImageId()})
	if err != nil {
		return err
	}
	return c.showImage(ctx, res.GetImage())
}
