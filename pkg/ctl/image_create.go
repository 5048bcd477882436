package ctl

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageCreate() *cobra.Command {
	var fields imageFields
	var id string
	var properties, tags []string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create the record of an image without data",
		Long: `Create the record of an image without data. The data comes later: by 'image import --id' or 'image stage', or from a
copy that is in a store already, by 'image adopt'. 'image import' alone does both.`,
		Example: "  atollctl image create --name debian-12 --visibility public --min-disk 10\n" +
			"  id=$(atollctl image create --name debian-12 -o json | jq -r .id)",
		Args: takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			img, err := fields.image()
			if err != nil {
				return err
			}
			if img.Properties, err = parseProperties(properties); err != nil {
				return err
			}
			img.Tags = tags
			if id != "" {
				parsed, err := image.ParseID("--id", strings.ToLower(id))
				if err != nil {
					return err
				}
				img.Id = string(parsed)
			}
			res, err := c.hub.Images.CreateImage(ctx, &hubv1.CreateImageRequest{Image: img})
			if err != nil {
				return err
			}
			return c.showImage(ctx, res.GetImage())
		}),
	}
	fields.add(cmd)
	newFlags(cmd, &id, &properties, &tags)
	return cmd
}

// newFlags adds what only new images are given by flags.
func newFlags(cmd *cobra.Command, id *string, properties, tags *[]string) {
	f := cmd.Flags()
	f.StringVar(id, "id", "", "UUID of the new image; chosen by the hub unless given")
	f.StringArrayVar(properties, "property", nil, "property, KEY=VALUE; may be repeated")
	f.StringArrayVar(tags, "tag", nil, "tag; may be repeated")
	for _, name := range []string{"id", "property", "tag"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
}
