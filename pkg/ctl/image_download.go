package ctl

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func (c *cli) imageDownload() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "download IMAGE [FILE]",
		Short: "Fetch the data of an image",
		Long: `Fetch the data of an active image into FILE, or to standard output without FILE or with -. The data is compared with
the image's SHA-512; FILE appears only when it is complete and right, and is sparse where the image is empty.`,
		Example: `  atollctl image download debian-12 debian.raw
  atollctl image download debian-12 | zstd > debian.raw.zst`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return takes("IMAGE")(cmd, args)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return c.complete(c.images)(cmd, args, typed)
		},
		RunE: c.verb(func(ctx context.Context, args []string) error {
			name := "-"
			if len(args) == 2 {
				name = args[1]
			}
			if _, _, terminal := c.env.Size(c.env.Stdout); name == "-" && terminal {
				return fault.New(fault.Invalid, reasonUsage, "an image is not written to a terminal; name a FILE")
			}
			if name == "-" {
				return c.download(ctx, args[0], c.env.Stdout)
			}
			f, err := createSparse(name, force)
			if err != nil {
				return err
			}
			defer f.discard()
			if err := c.download(ctx, args[0], f); err != nil {
				return err
			}
			return f.publish()
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}

// download writes the data of an image to w and fails unless it is what the image's record says.
func (c *cli) download(ctx context.Context, idOrName string, w io.Writer) error {
	img, err := c.hub.FindImage(ctx, idOrName)
	if err != nil {
		return err
	}
	sum := sha512.New()
	p := c.newProgress()
	n, err := c.hub.Download(ctx, img.GetId(), io.MultiWriter(w, sum), func(done, total int64) {
		p.bytes("image", "receiving", done, total)
	})
	p.close()
	if err != nil {
		return err
	}
	if known := img.GetOsHashValue(); img.GetOsHashAlgo() == "sha512" && known != "" {
		if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, known) {
			return fault.New(fault.Corrupt, "HASH_MISMATCH", "the data received is not the image: its SHA-512 differs")
		}
	} else {
		_, _ = fmt.Fprintln(c.env.Stderr, "note: the hub knows no SHA-512 of the image; the data was not checked")
	}
	_, _ = fmt.Fprintf(c.env.Stderr, "downloaded image %s, %s\n", img.GetId(), size(n))
	return nil
}
