package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteCreate() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "create SITE",
		Short: "Register a site and print the token with which its agent joins",
		Long: `Register a site and print the token with which its agent joins. The token is shown once and works once; run
'atollctl site token' for another one.`,
		Example: `  atollctl site create dcn0 --description "Tower 0"
  atoll-agent join --config /etc/atoll/agent.yaml --token "$(atollctl site create dcn1)"`,
		Args:              takes("SITE"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Sites.CreateSite(ctx, &hubv1.CreateSiteRequest{
				Site: &hubv1.Site{Id: args[0], Description: description},
			})
			if err != nil {
				return err
			}
			if c.format != asTable {
				return c.show(res, nil)
			}
			return c.showToken(res.GetSite().GetId(), res.GetJoinToken(), res.GetJoinTokenExpireTime())
		}),
	}
	cmd.Flags().StringVar(&description, "description", "", "free text, at most 255 characters")
	must(cmd.RegisterFlagCompletionFunc("description", cobra.NoFileCompletions))
	return cmd
}

// showToken writes the token alone to standard output, so that it can be piped, and what to do with it beside it.
func (c *cli) showToken(site, token string, expires *timestamppb.Timestamp) error {
	_, _ = fmt.Fprintf(c.env.Stderr, "join token of site %s, works once, until %s; at the site run:\n"+
		"  atoll-agent join --config FILE --token TOKEN\n", clean(site), c.when(expires))
	_, err := fmt.Fprintln(c.env.Stdout, token)
	return err
}
