package ctl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// target is the flags that say which stores a request is for.
type target struct {
	stores         []string
	all            bool
	allMustSucceed bool
}

func (c *cli) targetFlags(cmd *cobra.Command, t *target) {
	f := cmd.Flags()
	f.StringSliceVar(&t.stores, "stores", nil, "stores to fill, separated by commas")
	f.BoolVar(&t.all, "all-stores", false, "fill every store")
	f.BoolVar(&t.allMustSucceed, "all-must-succeed", false, "undo everything when one store fails for good")
	c.completeFlag(cmd, "stores", c.stores)
}

// check refuses what can be seen to be wrong without asking the hub.
func (t *target) check(cmd *cobra.Command) error {
	if t.all && cmd.Flags().Changed("stores") {
		return fault.BadField("--stores", "cannot be used together with --all-stores")
	}
	if cmd.Flags().Changed("stores") && len(t.stores) == 0 {
		return fault.BadField("--stores", "the list is empty")
	}
	for i, s := range t.stores {
		if t.stores[i] = strings.TrimSpace(s); t.stores[i] == "" {
			return fault.BadField("--stores", "one of the names is empty")
		}
	}
	return nil
}

// selection returns the stores as the hub wants them. Unknown ones are refused here, before anything is created.
// Without a choice it is the central store.
func (t *target) selection(ctx context.Context, c *cli) (*hubv1.StoreSelection, error) {
	sel := &hubv1.StoreSelection{Stores: t.stores, AllStores: t.all, AllMustSucceed: t.allMustSucceed}
	if t.all {
		return sel, nil
	}
	if len(t.stores) == 0 {
		central, err := c.hub.CentralStore(ctx)
		sel.Stores = []string{central.GetId()}
		return sel, err
	}
	known, err := collect(c.hub.AllStores(ctx))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range known {
		names = append(names, s.GetId())
	}
	e := &fault.Error{Class: fault.Invalid, Reason: "UNKNOWN_STORE"}
	for _, s := range t.stores {
		if !slices.Contains(names, s) {
			e.Fields = append(e.Fields, fault.Field{Name: "--stores", Problem: fmt.Sprintf("there is no store %q", s)})
		}
	}
	if len(e.Fields) > 0 {
		if e.Message = "unknown store; the stores are " + few(names); len(names) == 0 {
			e.Message = "unknown store; no store is registered yet, start an agent first"
		}
		return nil, e
	}
	return sel, nil
}
