package ctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageStage() *cobra.Command {
	return &cobra.Command{
		Use:   "stage IMAGE FILE|-",
		Short: "Send the data of an image to the hub, for a later import",
		Long: `Send the data of a queued image to the hub, where it waits for 'image import --staged'; no store is filled yet. When
sending fails nothing is kept and the image is queued again.`,
		Example: "  atollctl image create --name debian-12\n" +
			"  atollctl image stage debian-12 debian.raw\n  atollctl image import --staged debian-12 --all-stores",
		Args: takes("IMAGE", "FILE|-"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return c.complete(c.images)(cmd, args, typed)
		},
		RunE: c.verb(func(ctx context.Context, args []string) error {
			found, err := c.hub.FindImage(ctx, args[0])
			if err != nil {
				return err
			}
			from, err := c.openSource(args[1], found.GetDiskFormat())
			if err != nil {
				return err
			}
			defer func() { _ = from.close() }()
			if from.uri != "" {
				return fault.BadField("FILE", "a URL is not staged; import it with 'atollctl image import URL --id %s'", found.GetId())
			}
			return c.stage(ctx, found, from)
		}),
	}
}

func (c *cli) stage(ctx context.Context, img *hubv1.Image, from *source) error {
	p := c.newProgress()
	p.bytes("source", "sending", 0, from.size)
	staged, err := c.hub.Stage(ctx, &hubv1.StageHeader{Id: img.GetId(), SizeBytes: from.size}, from.data, func(sent int64) {
		p.bytes("source", "sending", sent, from.size)
	})
	p.close()
	if cause := errors.Unwrap(err); cause != nil && fault.ReasonOf(err) == "SOURCE_UNREADABLE" {
		return unreadable(from.name, cause)
	}
	if err != nil {
		if ctx.Err() != nil || fault.ReasonOf(err) == "UNREACHABLE" {
			return &left{cause: err, text: why(err) + "; the data was not staged and nothing of it is kept"}
		}
		return err
	}
	_, _ = fmt.Fprintf(c.env.Stderr, "staged; fill stores from it with: %s\n", c.hint("image import --staged "+staged.GetId()))
	return c.showImage(ctx, staged)
}
