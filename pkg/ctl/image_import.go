package ctl

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) imageImport() *cobra.Command {
	r := importing{cli: c}
	var id string
	var properties, tags []string
	cmd := &cobra.Command{
		Use:   "import FILE|URL|- --name NAME",
		Short: "Bring an image in and fill stores from it",
		Long: `Bring an image in and fill stores from it, all at the same time and each at its own speed. A FILE is sent by this
program, - stands for standard input, a http or https URL is read by the hub. Without --stores and --all-stores the
image goes to the central store, which is always among the stores.

The image is active as soon as one store holds a verified copy; with --all-must-succeed only when all of them do, and
then a store that fails for good undoes the import everywhere.

Data compressed with gzip, xz, zstd or bzip2 is unpacked, and qcow2, vmdk, vhd, vhdx and vdi disks become raw on their way
in, unless the hub is told otherwise or --keep-format is given: sites can clone raw disks only.

When the data cannot be brought in, the record created for it is removed again. When stores failed, the image is queued
again and --id repeats the import.

With --staged the argument is an image whose data 'image stage' has sent before; when that import fails the data stays.`,
		Example: `  atollctl image import debian.raw --name debian-12
  atollctl image import https://example.org/debian.raw --name debian-12 --stores dcn0,dcn1
  zstd -dc debian.raw.zst | atollctl image import - --name debian-12 --all-stores --all-must-succeed
  atollctl image import https://example.org/debian.raw --name debian-12 --checksum sha256:9f86d081884c7d65...
  atollctl image import --staged debian-12 --all-stores`,
		Args: takes("FILE|URL|-"),
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch {
		case len(args) > 0:
			return nil, cobra.ShellCompDirectiveNoFileComp
		case r.staged:
			return c.complete(c.images)(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	cmd.RunE = c.verb(func(ctx context.Context, args []string) error {
		if err := r.target.check(cmd); err != nil {
			return err
		}
		for _, flag := range recordFlags {
			r.described = r.described || cmd.Flags().Changed(flag)
		}
		sum, err := image.ParseChecksum("--checksum", r.sum)
		if err != nil {
			return err
		}
		if r.staged {
			if r.sum != "" {
				return fault.BadField("--checksum", "must be given when the data is sent, not with --staged")
			}
			return r.importStaged(ctx, args[0], id)
		}
		r.expected = sum
		if r.image, err = r.fields.image(); err != nil {
			return err
		}
		if r.image.Properties, err = parseProperties(properties); err != nil {
			return err
		}
		r.image.Id, r.image.Tags = id, tags
		return r.run(ctx, args[0])
	})
	r.fields.add(cmd)
	cmd.Flags().StringVar(&r.sum, "checksum", "", "what the data must hash to: sha256:HEX or sha512:HEX; other data leaves nothing behind")
	newFlags(cmd, &id, &properties, &tags)
	cmd.Flags().Lookup("id").Usage = "UUID of the new image, or of a queued one to import into"
	cmd.Flags().BoolVar(&r.keep, "keep-format", false, "store the data as it comes: neither unpack it nor make a raw disk of it")
	cmd.Flags().BoolVar(&r.staged, "staged", false, "import the data that 'image stage' has sent before")
	c.targetFlags(cmd, &r.target)
	waitFlag(cmd, &r.wait)
	return cmd
}

// recordFlags are the flags that describe a new record; the name and the formats may also be those of an existing one.
var recordFlags = []string{"owner", "visibility", "hidden", "protected", "min-disk", "min-ram", "property", "tag"}

// importing is one run of `image import`.
type importing struct {
	*cli
	fields imageFields
	image  *hubv1.Image // what was asked for
	target target
	wait   bool
	staged bool
	keep   bool   // the data is stored as it comes
	sum    string // as given
	// expected is what the data must hash to.
	expected image.Checksum
	// described: flags say more about the record than its name and formats.
	described bool

	from    *source
	created bool // by this run, so it cleans up
}

func (r *importing) run(ctx context.Context, arg string) error {
	if r.image.GetId() != "" {
		id, err := image.ParseID("--id", strings.ToLower(r.image.GetId()))
		if err != nil {
			return err
		}
		r.image.Id = string(id)
	} else if r.image.GetName() == "" {
		return fault.BadField("--name", "the image needs a name")
	}
	from, err := r.openSource(arg, r.image.GetDiskFormat())
	if err != nil {
		return err
	}
	defer func() { _ = from.close() }()
	r.from = from
	from.prove(r.expected)
	sel, err := r.target.selection(ctx, r.cli)
	if err != nil {
		return err
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	if from.uri != "" {
		return r.importURL(ctx, sel)
	}
	return r.upload(ctx, sel)
}

// create makes the record, unless --id names one that is queued. The UUID is chosen here, so that a record can be found
// and removed even when the hub's answer to its creation is lost.
func (r *importing) create(ctx context.Context) error {
	if r.image.GetId() == "" {
		r.image.Id = string(image.NewID())
	} else {
		res, err := r.hub.Images.GetImage(ctx, &hubv1.GetImageRequest{Id: r.image.GetId()})
		if err == nil {
			return r.reuse(res.GetImage())
		}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		if r.image.GetName() == "" {
			return fault.BadField("--name", "there is no image %s yet, so it needs a name", r.image.GetId())
		}
	}
	_, err := r.hub.Images.CreateImage(ctx, &hubv1.CreateImageRequest{Image: r.image})
	switch {
	case err == nil:
		r.created = true
	case fault.Is(err, fault.Unavailable), fault.Is(err, fault.Timeout), fault.Is(err, fault.Cancelled):
		r.created = true // perhaps
		r.discard(ctx)
	}
	return err
}

// reuse checks that an existing record can take the data.
func (r *importing) reuse(img *hubv1.Image) error {
	if img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
		return fault.New(fault.Exists, "IMAGE_EXISTS", "image %s exists and is %s; only a queued one can be imported into",
			img.GetId(), word(img.GetStatus(), "IMAGE_STATUS_"))
	}
	if r.image.GetName() != "" && r.image.GetName() != img.GetName() {
		return fault.BadField("--name", "image %s exists and is named %q", img.GetId(), img.GetName())
	}
	if r.described {
		return fault.BadField("--id", "image %s exists; change it with 'atollctl image update'", img.GetId())
	}
	return nil
}
