package ctl

import (
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) store() *cobra.Command {
	return noun("store", groupPlaces, "Stores: the pools that hold copies", c.storeList(), c.storeShow())
}

// free returns the free space of a store and its share; empty when unknown.
func free(s *hubv1.Store) string {
	if s.GetTotalBytes() <= 0 {
		return ""
	}
	return fmt.Sprintf("%s (%d%%)", size(s.GetFreeBytes()), percent(s.GetFreeBytes(), s.GetTotalBytes()))
}

// capacity is empty when unknown.
func capacity(s *hubv1.Store) string {
	if s.GetTotalBytes() <= 0 {
		return ""
	}
	return size(s.GetTotalBytes())
}
