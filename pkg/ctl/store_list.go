package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) storeList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List stores",
		Example: "  atollctl store list",
		Args:    takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			stores, err := collect(c.hub.AllStores(ctx))
			if err != nil {
				return err
			}
			header := []string{"STORE", "SITE", "DRIVER", "POOL", "CENTRAL", "HEALTHY", "CAPACITY", "FREE", "REMARK"}
			return showList(c, "stores", stores, header, func(s *hubv1.Store) []string {
				return []string{
					s.GetId(), s.GetSiteId(), s.GetDriver(), s.GetPool(), yesNo(s.GetCentral()), yesNo(s.GetHealthy()),
					capacity(s), free(s), s.GetMessage(),
				}
			})
		}),
	}
}
