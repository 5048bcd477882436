package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/pkg/image"
)

func TestFormatFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags, disk, wrong string
	}{
		{"", "ami ari aki vhd vhdx vmdk raw qcow2 vdi iso ploop", ""},
		{"--disk-formats=raw,qcow2 --container-formats=bare", "raw qcow2", ""},
		{"--disk-formats=raw --disk-formats=gpt", "raw gpt", ""},
		{"--disk-formats=raw,floppy", "", "disk-formats"},
		{"--disk-formats=", "", "disk-formats"},
		{"--container-formats=tin", "", "container-formats"},
	} {
		var config Config
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		config.formats(f)
		if err := f.Parse(strings.Fields(c.flags)); err != nil {
			t.Fatal(err)
		}
		got, err := config.parseFormats()
		switch {
		case c.wrong != "":
			if err == nil || !strings.HasPrefix(err.Error(), c.wrong) {
				t.Errorf("%s: %v", c.flags, err)
			}
		case err != nil || !slices.Equal(got.Disk(), strings.Fields(c.disk)):
			t.Errorf("%s: got %v, %v", c.flags, got.Disk(), err)
		}
	}
	if (image.Formats{}).CheckDisk("", "gpt") == nil {
		t.Error("gpt is accepted without being asked for")
	}
}
