package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// imageFilters is the flags of `image list`.
type imageFilters struct {
	name, owner, visibility, status, member string
	tags                                    []string
	hidden                                  bool
}

func (c *cli) imageList() *cobra.Command {
	var filters imageFilters
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List images, newest first",
		Long: `List images, newest first: those of your project, public ones and those that were shared with your project and that it
has accepted. Community images of other projects are listed with --visibility community.`,
		Example: "  atollctl image list\n  atollctl image list --tag golden --status active\n" +
			"  atollctl image list -o json | jq -r '.images[] | select(.status == \"IMAGE_STATUS_ACTIVE\").id'",
		Args: takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			req, err := filters.request()
			if err != nil {
				return err
			}
			images, err := collect(c.hub.AllImages(ctx, req))
			if err != nil {
				return err
			}
			header := []string{"IMAGE", "NAME", "STATUS", "SIZE", "STORES", "IMPORTING", "FAILED", "AGE"}
			return showList(c, "images", images, header, func(img *hubv1.Image) []string {
				length := ""
				if img.GetSizeBytes() > 0 {
					length = size(img.GetSizeBytes())
				}
				return []string{
					img.GetId(), img.GetName(), statusWord(img), length, few(img.GetStores()),
					few(img.GetImportingToStores()), few(img.GetFailedImport()), c.age(img.GetCreateTime()),
				}
			})
		}),
	}
	filters.add(cmd)
	c.completeFlag(cmd, "name", c.images)
	return cmd
}

func (i *imageFilters) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&i.name, "name", "", "only images with this name")
	f.StringVar(&i.owner, "owner", "", "only images of this project")
	f.StringVar(&i.visibility, "visibility", "", "only images that are private, shared, community or public")
	f.StringVar(&i.status, "status", "", "only images that are queued, uploading, importing, active or deleting")
	f.StringArrayVar(&i.tags, "tag", nil, "only images with this tag; may be repeated")
	f.StringVar(&i.member, "member-status", "", "list shared images to which your project has said accepted (unless given), pending or rejected")
	f.BoolVar(&i.hidden, "hidden", false, "also hidden images")
	for _, name := range []string{"owner", "tag"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	offers(cmd, "visibility", visibilities...)
	offers(cmd, "status", statuses...)
	offers(cmd, "member-status", memberStatuses...)
}

func (i *imageFilters) request() (*hubv1.ListImagesRequest, error) {
	visibility, err := parseVisibility(i.visibility)
	if err != nil {
		return nil, err
	}
	status, err := parseWord("--status", i.status, "IMAGE_STATUS_", statuses, hubv1.ImageStatus_value)
	if err != nil {
		return nil, err
	}
	member, err := parseWord("--member-status", i.member, "MEMBER_STATUS_", memberStatuses, hubv1.MemberStatus_value)
	if err != nil {
		return nil, err
	}
	return &hubv1.ListImagesRequest{
		Name: i.name, Owner: i.owner, Visibility: visibility, Status: hubv1.ImageStatus(status), Tags: i.tags,
		MemberStatus: hubv1.MemberStatus(member), IncludeHidden: i.hidden,
	}, nil
}
