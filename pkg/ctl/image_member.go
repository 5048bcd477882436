package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageMember() *cobra.Command {
	cmd := noun("member", "", "Projects that an image is shared with",
		c.memberAdd(), c.memberList(),
		c.memberAnswer("accept", "Take an image that was shared with your project into its lists", hubv1.MemberStatus_MEMBER_STATUS_ACCEPTED),
		c.memberAnswer("reject", "Leave an image that was shared with your project out of its lists", hubv1.MemberStatus_MEMBER_STATUS_REJECTED),
		c.memberRemove())
	cmd.Example = "  atollctl image member add --help"
	return cmd
}

func (c *cli) memberAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add IMAGE PROJECT",
		Short: "Share an image with a project",
		Long: `Share an image, whose visibility must be shared, with a project, given by its id. The project can use the image by its
UUID at once, and sees it in its lists after it has accepted it.`,
		Example:           "  atollctl image member add debian-12 9f1c5ae0c2a34d0c8a1e6a5a4d2b7c31",
		Args:              takes("IMAGE", "PROJECT"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.AddMember(ctx, &hubv1.AddMemberRequest{ImageId: id, ProjectId: args[1]})
			if err != nil {
				return err
			}
			return c.showMember(res.GetMember())
		}),
	}
}

func (c *cli) memberList() *cobra.Command {
	return &cobra.Command{
		Use:               "list IMAGE",
		Short:             "List the projects that an image is shared with",
		Example:           "  atollctl image member list debian-12",
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.ListMembers(ctx, &hubv1.ListMembersRequest{ImageId: id})
			if err != nil {
				return err
			}
			return showList(c, "members", res.GetMembers(), []string{"PROJECT", "STATUS", "AGE"}, func(m *hubv1.Member) []string {
				return []string{m.GetProjectId(), word(m.GetStatus(), "MEMBER_STATUS_"), c.age(m.GetCreateTime())}
			})
		}),
	}
}

// memberAnswer is the verbs by which a project says what it thinks of an image.
func (c *cli) memberAnswer(verb, short string, status hubv1.MemberStatus) *cobra.Command {
	var project string
	cmd := &cobra.Command{
		Use:   verb + " IMAGE",
		Short: short,
		Long: short + `. Name the image by its UUID: what has not been accepted is in no list,
where names are looked for.`,
		Example:           "  atollctl image member " + verb + " 2bd882e7-1da0-4078-97fe-f1bb81f61b00",
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.UpdateMember(ctx, &hubv1.UpdateMemberRequest{ImageId: id, ProjectId: project, Status: status})
			if err != nil {
				return err
			}
			return c.showMember(res.GetMember())
		}),
	}
	cmd.Flags().StringVar(&project, "project", "", "project to speak for, for administrators; else it is yours")
	must(cmd.RegisterFlagCompletionFunc("project", cobra.NoFileCompletions))
	return cmd
}

func (c *cli) memberRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove IMAGE PROJECT",
		Short:             "Stop sharing an image with a project",
		Example:           "  atollctl image member remove debian-12 9f1c5ae0c2a34d0c8a1e6a5a4d2b7c31",
		Args:              takes("IMAGE", "PROJECT"),
		ValidArgsFunction: c.complete(c.images),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			id, err := c.imageID(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := c.hub.Images.RemoveMember(ctx, &hubv1.RemoveMemberRequest{ImageId: id, ProjectId: args[1]})
			if err != nil {
				return err
			}
			if c.format != asTable {
				return c.show(res, nil)
			}
			_, err = fmt.Fprintf(c.env.Stdout, "image %s is no longer shared with %s\n", id, clean(args[1]))
			return err
		}),
	}
}

func (c *cli) showMember(m *hubv1.Member) error {
	return c.show(m, func(l *lines) {
		l.add("project", m.GetProjectId())
		l.add("status", word(m.GetStatus(), "MEMBER_STATUS_"))
		l.add("added", c.when(m.GetCreateTime()))
		if m.GetStatus() != hubv1.MemberStatus_MEMBER_STATUS_PENDING {
			l.add("answered", c.when(m.GetUpdateTime()))
		}
	})
}
