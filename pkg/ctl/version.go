package ctl

import (
	"bytes"
	"encoding/json"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build says what this program was built from.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// buildInfo reads what the compiler stamped into the program; a version of the linker goes before the compiler's.
func buildInfo(version string) build {
	b := build{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	if version != "" {
		b.Version = version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}

func (c *cli) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		GroupID: groupOther,
		Short:   "Show the version of this program",
		Example: "  atollctl version -o json",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			c.running = true
			v := buildInfo(c.env.Version)
			if c.format == asTable {
				l := &lines{}
				l.add("version", v.Version)
				l.add("commit", v.Commit)
				l.add("go", v.Go)
				_, err := c.env.Stdout.Write([]byte(l.text(2)))
				return err
			}
			var data bytes.Buffer
			if err := json.NewEncoder(&data).Encode(v); err != nil {
				return err
			}
			return c.write(bytes.TrimSpace(data.Bytes()))
		},
	}
}
