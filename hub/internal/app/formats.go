package app

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// FormatConfig names the formats that images may have.
type FormatConfig struct{ Disk, Container []string }

func (c *Config) formats(f *pflag.FlagSet) {
	all := image.Formats{}
	f.StringSliceVar(&c.Formats.Disk, "disk-formats", all.Disk(), "disk formats that images may have; gpt, which means the same as raw, may be added")
	f.StringSliceVar(&c.Formats.Container, "container-formats", all.Container(), "container formats that images may have")
}

// parseFormats returns the formats that images may have.
func (c *Config) parseFormats() (image.Formats, error) {
	trim := func(list []string) []string {
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list
	}
	return image.ParseFormats(trim(c.Formats.Disk), trim(c.Formats.Container))
}
