package ctl

import (
	"context"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) storeShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show STORE",
		Short:             "Show a store",
		Example:           "  atollctl store show central",
		Args:              takes("STORE"),
		ValidArgsFunction: c.complete(c.stores),
		RunE: c.verb(func(ctx context.Context, args []string) error {
			res, err := c.hub.Stores.GetStore(ctx, &hubv1.GetStoreRequest{Id: args[0]})
			if err != nil {
				return err
			}
			s := res.GetStore()
			return c.show(s, func(l *lines) {
				l.add("id", s.GetId())
				l.add("site", s.GetSiteId())
				l.add("driver", s.GetDriver())
				l.add("cluster", s.GetFsid())
				l.add("pool", s.GetPool())
				l.add("central", yesNo(s.GetCentral()))
				l.add("healthy", yesNo(s.GetHealthy()))
				l.add("remark", s.GetMessage())
				l.add("capacity", capacity(s))
				l.add("free", free(s))
			})
		}),
	}
}
