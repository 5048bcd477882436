package app

import (
	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/importer/inject"
)

// InjectConfig is about the properties that every imported image gets.
type InjectConfig struct {
	Properties  []string // lists of key:value
	IgnoreRoles []string // of callers whose images get none
}

func (c *Config) inject(f *pflag.FlagSet) {
	i := &c.Inject
	f.StringArrayVar(&i.Properties, inject.FlagProperties, nil,
		`properties that every imported image gets, as key:value,key:value with values that hold commas in quotes; may be repeated`)
	f.StringSliceVar(&i.IgnoreRoles, inject.FlagIgnoreRoles, []string{"admin"}, "roles of callers whose images get none of them")
}
