package ctl

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// mostUpdates is how often a change is made again after another writer was faster.
const mostUpdates = 5

func (c *cli) imageUpdate() *cobra.Command {
	var fields imageFields
	var set, remove []string
	cmd := &cobra.Command{
		Use:   "update IMAGE",
		Short: "Change the name, the protection, the properties and so on of an image",
		Long: `Change what the flags name and nothing else. The formats can be changed as long as the image has no data, the owner by
administrators. Tags have commands of their own, 'image tag'.`,
		Example: `  atollctl image update debian-12 --name debian-12-old
  atollctl image update debian-12 --protected=false --visibility community
  atollctl image update debian-12 --property os_distro=debian --remove-property hw_disk_bus`,
		Args:              takes("IMAGE"),
		ValidArgsFunction: c.complete(c.images),
	}
	cmd.RunE = c.verb(func(ctx context.Context, args []string) error {
		change, err := fields.image()
		if err != nil {
			return err
		}
		properties, err := parseProperties(set)
		if err != nil {
			return err
		}
		mask := &fieldmaskpb.FieldMask{}
		for flag, field := range fieldOf {
			if cmd.Flags().Changed(flag) {
				mask.Paths = append(mask.Paths, field)
			}
		}
		merges := len(properties)+len(remove) > 0
		if merges {
			mask.Paths = append(mask.Paths, "properties")
		}
		if len(mask.Paths) == 0 {
			return fault.New(fault.Invalid, reasonUsage, "nothing to change: name what to change, see 'atollctl image update --help'")
		}
		slices.Sort(mask.Paths)
		found, err := c.hub.FindImage(ctx, args[0])
		if err != nil {
			return err
		}
		updated, err := c.editImage(ctx, found, func(now *hubv1.Image) (*hubv1.UpdateImageRequest, error) {
			img := proto.CloneOf(change)
			img.Id = now.GetId()
			if merges { // the whole map is replaced, so it must be the one that was read
				img.Etag, img.Properties = now.GetEtag(), merge(now.GetProperties(), properties, remove)
			}
			return &hubv1.UpdateImageRequest{Image: img, UpdateMask: mask}, nil
		})
		if err != nil {
			return err
		}
		return c.showImage(ctx, updated)
	})
	fields.add(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&set, "property", nil, "property to set, KEY=VALUE; may be repeated")
	f.StringArrayVar(&remove, "remove-property", nil, "property to remove; may be repeated")
	for _, name := range []string{"property", "remove-property"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	return cmd
}

// editImage changes an image as it was read. A request that depends on what was read has its etag, and is made again from a
// newer reading when another writer was faster.
func (c *cli) editImage(
	ctx context.Context, found *hubv1.Image, request func(now *hubv1.Image) (*hubv1.UpdateImageRequest, error),
) (*hubv1.Image, error) {
	waits := retry.Policy{Initial: 20 * time.Millisecond, Max: 200 * time.Millisecond}.Backoff()
	for attempt := 1; ; attempt++ {
		req, err := request(found)
		if err != nil {
			return nil, err
		}
		res, err := c.hub.Images.UpdateImage(ctx, req)
		if err == nil || attempt == mostUpdates || req.GetImage().GetEtag() == "" || !lostRace(err) {
			return res.GetImage(), err
		}
		if err := waits.Wait(ctx); err != nil {
			return nil, err
		}
		if found, err = c.hub.FindImage(ctx, found.GetId()); err != nil {
			return nil, err
		}
	}
}

// lostRace reports whether another writer was faster.
func lostRace(err error) bool {
	return fault.Is(err, fault.Conflict) || fault.ReasonOf(err) == "STALE_ETAG"
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
