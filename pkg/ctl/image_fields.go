package ctl

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// imageFields is the flags that say what an image is: those of create, import and update.
type imageFields struct {
	name       string
	owner      string
	visibility string
	hidden     bool
	protected  bool
	minDisk    int32
	minRAM     int32
	diskFormat string
	container  string
}

// fieldOf names the fields of the API that the flags set.
var fieldOf = map[string]string{
	"name": "name", "owner": "owner", "visibility": "visibility", "hidden": "hidden", "protected": "protected", "min-disk": "min_disk_gb",
	"min-ram": "min_ram_mb", "disk-format": "disk_format", "container-format": "container_format",
}

func (i *imageFields) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&i.name, "name", "", "name of the image")
	f.StringVar(&i.owner, "owner", "", "project that owns the image, for administrators; else it is yours")
	f.StringVar(&i.visibility, "visibility", "", "private, shared, community or public; shared unless given")
	f.BoolVar(&i.hidden, "hidden", false, "leave the image out of lists")
	f.BoolVar(&i.protected, "protected", false, "protect the image from deletion")
	f.Int32Var(&i.minDisk, "min-disk", 0, "smallest disk in `GB` that the image can be started on")
	f.Int32Var(&i.minRAM, "min-ram", 0, "smallest memory in `MB` that the image can be started with")
	f.StringVar(&i.diskFormat, "disk-format", "raw", "format of the data; only raw boots copy-on-write")
	f.StringVar(&i.container, "container-format", "bare", "container format")
	for _, name := range []string{"name", "owner", "min-disk", "min-ram", "container-format"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	offers(cmd, "disk-format", "raw", "qcow2", "iso")
	offers(cmd, "visibility", visibilities...)
}

// image returns an image with what the flags say.
func (i *imageFields) image() (*hubv1.Image, error) {
	v, err := parseVisibility(i.visibility)
	if err != nil {
		return nil, err
	}
	if i.minDisk < 0 || i.minRAM < 0 {
		return nil, fault.BadField("--min-disk", "the smallest disk and memory are not negative")
	}
	return &hubv1.Image{
		Name: i.name, Owner: i.owner, Visibility: v, Hidden: i.hidden, Protected: i.protected, MinDiskGb: i.minDisk, MinRamMb: i.minRAM,
		DiskFormat: i.diskFormat, ContainerFormat: i.container,
	}, nil
}

// offers completes the value of a flag from a fixed list.
func offers(cmd *cobra.Command, flag string, values ...string) {
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

var (
	visibilities   = []string{"private", "shared", "community", "public"}
	statuses       = []string{"queued", "uploading", "importing", "active", "deleting"}
	memberStatuses = []string{"pending", "accepted", "rejected"}
)

// parseVisibility returns what a word stands for; empty is unspecified.
func parseVisibility(s string) (hubv1.Visibility, error) {
	n, err := parseWord("--visibility", s, "VISIBILITY_", visibilities, hubv1.Visibility_value)
	return hubv1.Visibility(n), err
}

// parseWord returns the enum value of a word, 0 of none.
func parseWord(flag, s, prefix string, words []string, values map[string]int32) (int32, error) {
	if s == "" {
		return 0, nil
	}
	n, ok := values[prefix+strings.ToUpper(s)]
	if !ok || n == 0 {
		return 0, fault.BadField(flag, "%q is not one of %s", s, strings.Join(words, ", "))
	}
	return n, nil
}
