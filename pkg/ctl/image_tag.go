package ctl

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageTag() *cobra.Command {
	cmd := noun("tag", "", "Tags of an image",
		c.tagVerb("add", "Add tags to an image; those it has already stay", func(tags, given []string) ([]string, error) {
			return slices.Concat(tags, given), nil
		}),
		c.tagVerb("remove", "Remove tags from an image", func(tags, given []string) ([]string, error) {
			for _, t := range given {
				if !slices.Contains(tags, t) {
					return nil, fault.New(fault.NotFound, "TAG_NOT_FOUND", "the image has no tag %q", t)
				}
			}
			return slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return slices.Contains(given, t) }), nil
		}))
	cmd.Example = "  atollctl image tag add --help"
	return cmd
}

// tagVerb changes the tags of an image by a function of the old ones and those given.
func (c *cli) tagVerb(verb, short string, change func(tags, given []string) ([]string, error)) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " IMAGE TAG...",
		Short:             short,
		Example:           "  atollctl image tag " + verb + " debian-12 golden lts",
		Args:              takesMore("IMAGE", "TAG"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			found, err := c.hub.FindImage(ctx, args[0])
			if err != nil {
				return err
			}
			updated, err := c.editImage(ctx, found, func(now *hubv1.Image) (*hubv1.UpdateImageRequest, error) {
				tags, err := change(now.GetTags(), args[1:])
				if err != nil {
					return nil, err
				}
				slices.Sort(tags)
				return &hubv1.UpdateImageRequest{
					Image:      &hubv1.Image{Id: now.GetId(), Etag: now.GetEtag(), Tags: slices.Compact(tags)},
					UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tags"}},
				}, nil
			})
			if err != nil {
				return err
			}
			return c.showImage(ctx, updated)
		}),
	}
}
