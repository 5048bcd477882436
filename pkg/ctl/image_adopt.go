package ctl

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageAdopt() *cobra.Command {
	var digest string
	var wait bool
	cmd := &cobra.Command{
		Use:   "adopt IMAGE URL",
		Short: "Take over a copy that somebody else has made in a store",
		Long: `Take over a copy that somebody else has made in a store, as it is: an RBD image that is named by the UUID of the queued
image and has a protected snapshot "snap". URL is rbd://FSID/POOL/IMAGE-UUID/snap, in the cluster and the pool of a
registered store.

With --digest the image becomes active when the data has that digest; else it is active at once, and its digests follow.`,
		Example: `  atollctl image adopt debian-12 rbd://b3f6.../images/2bd882e7-1da0-4078-97fe-f1bb81f61b00/snap
  atollctl image adopt debian-12 "$url" --digest sha512:$(sha512sum < debian.raw | cut -d' ' -f1)`,
		Args:              takes("IMAGE", "URL"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			req := &hubv1.AdoptLocationRequest{Url: args[1]}
			if digest != "" {
				algorithm, value, ok := strings.Cut(digest, ":")
				if !ok {
					return fault.BadField("--digest", "%q is not ALGORITHM:HEX, such as sha512:0a1b...", digest)
				}
				req.Expected = &hubv1.DataDigest{Algorithm: algorithm, Value: value}
			}
			var err error
			if req.Id, err = c.imageID(ctx, args[0]); err != nil {
				return err
			}
			res, err := c.hub.Images.AdoptLocation(ctx, req)
			if err != nil {
				return err
			}
			return c.finish(ctx, res.GetOperation(), wait, func(op *hubv1.Operation) error { return c.showImageOf(ctx, op) })
		}),
	}
	cmd.Flags().StringVar(&digest, "digest", "", "digest that the data must have, ALGORITHM:HEX with md5, sha1, sha256 or sha512")
	must(cmd.RegisterFlagCompletionFunc("digest", cobra.NoFileCompletions))
	waitFlag(cmd, &wait)
	return cmd
}
