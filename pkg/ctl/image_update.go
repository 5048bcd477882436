package ctl

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// mostUpdates is how often properties are merged again after another writer was faster.
const mostUpdates = 5

func (c *cli) imageUpdate() *cobra.Command {
	var name string
	var protected bool
	var set, remove []string
	cmd := &cobra.Command{
		Use:   "update IMAGE",
		Short: "Change the name, the protection or the properties of an image",
		Example: `  atollctl image update debian-12 --name debian-12-old
  atollctl image update debian-12 --protected=false
  atollctl image update debian-12 --property os_distro=debian --remove-property hw_disk_bus`,
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
	}
	cmd.RunE = c.verb(func(ctx context.Context, args []string) error {
		properties, err := parseProperties(set)
		if err != nil {
			return err
		}
		mask := &fieldmaskpb.FieldMask{}
		for _, field := range []string{"name", "protected"} {
			if cmd.Flags().Changed(field) {
				mask.Paths = append(mask.Paths, field)
			}
		}
		changesProperties := len(properties)+len(remove) > 0
		if changesProperties {
			mask.Paths = append(mask.Paths, "properties")
		}
		if len(mask.Paths) == 0 {
			return fault.New(fault.Invalid, reasonUsage, "nothing to change: use --name, --protected, --property or --remove-property")
		}
		found, err := c.hub.FindImage(ctx, args[0])
		if err != nil {
			return err
		}
		change := &hubv1.Image{Id: found.GetId(), Name: name, Protected: protected}
		update := func() (*hubv1.Image, error) {
			if changesProperties { // the whole map is replaced, so it must be the one that was read
				change.Etag, change.Properties = found.GetEtag(), merge(found.GetProperties(), properties, remove)
			}
			res, err := c.hub.Images.UpdateImage(ctx, &hubv1.UpdateImageRequest{Image: change, UpdateMask: mask})
			return res.GetImage(), err
		}
		updated, err := update()
		waits := retry.Policy{Initial: 20 * time.Millisecond, Max: 200 * time.Millisecond}.Backoff()
		for attempt := 1; attempt < mostUpdates && changesProperties && fault.Is(err, fault.Conflict); attempt++ {
			if err := waits.Wait(ctx); err != nil {
				return err
			}
			if found, err = c.hub.FindImage(ctx, found.GetId()); err != nil {
				return err
			}
			updated, err = update()
		}
		if err != nil {
			return err
		}
		return c.showImage(ctx, updated)
	})
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "new name")
	f.BoolVar(&protected, "protected", false, "whether the image is protected from deletion")
	f.StringArrayVar(&set, "property", nil, "property to set, KEY=VALUE; may be repeated")
	f.StringArrayVar(&remove, "remove-property", nil, "property to remove; may be repeated")
	return cmd
}

// merge returns the properties with some set and some removed.
func merge(old, set map[string]string, remove []string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, old)
	maps.Copy(all, set)
	for _, k := range remove {
		delete(all, k)
	}
	return all
}

// parseProperties splits KEY=VALUE.
func parseProperties(list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	all := make(map[string]string, len(list))
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, fault.BadField("--property", "%q is not KEY=VALUE", s)
		}
		all[k] = v
	}
	return all, nil
}
