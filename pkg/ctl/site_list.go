package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) siteList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List sites",
		Example: "  atollctl site list -o json | jq -r '.sites[] | select(.connected | not).id'",
		Args:    takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			sites, err := collect(c.hub.AllSites(ctx))
			if err != nil {
				return err
			}
			header := []string{"SITE", "CONNECTED", "SINCE", "AGENT", "ADDRESS", "STORES", "LIMIT", "RATE", "DESCRIPTION"}
			return showList(c, "sites", sites, header, func(s *hubv1.Site) []string {
				return []string{
					s.GetId(), yesNo(s.GetConnected()), c.age(s.GetConnectionTime()), s.GetAgentVersion(),
					s.GetAgentAddress(), few(s.GetStores()), limitNow(s), perSecond(s.GetBytesPerSecond()), s.GetDescription(),
				}
			})
		}),
	}
}
