package ctl

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// defaultHub is where a hub listens unless told otherwise.
const defaultHub = "127.0.0.1:9393"

// The groups of `atollctl --help`.
const (
	groupImages = "images"
	groupPlaces = "places"
	groupOther  = "other"
)

func (c *cli) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atollctl",
		Short: "Bring images to every site and keep track of their copies",
		Long: `atollctl talks to an Atoll hub: it brings virtual machine images in, copies them to the stores of your sites, and
shows where every copy stands.

A hub that is not on this machine is reached over TLS (--tls, --ca-file). It wants to know who you are: a token
(ATOLL_TOKEN), or the credentials of OpenStack's own clients, from clouds.yaml (--os-cloud) or the OS_* variables.

Results go to standard output, everything else to standard error. Scripts use -o json or -o yaml and the exit codes
(atollctl help exit-codes).`,
		Example: `  atollctl image import debian.raw --name debian-12 --all-stores
  atollctl image list
  atollctl image copy debian-12 --stores dcn0,dcn1
  atollctl operation list --running`,
		Version:       buildInfo(c.env.Version).Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          showHelp,
	}
	hub := c.env.Getenv("ATOLL_HUB")
	if hub == "" {
		hub = defaultHub
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.target, "hub", hub, "address of the hub, host:port or unix:PATH; of several hubs host:port,host:port (environment ATOLL_HUB)")
	c.accessFlags(cmd)
	flags.VarP(&c.format, "output", "o", "table, json or yaml")
	flags.Var((*duration)(&c.timeout), "timeout", "give up after this time, such as 30s or 2h; 0 means never")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats[:], cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("hub", cobra.NoFileCompletions))
	must(cmd.RegisterFlagCompletionFunc("timeout", cobra.NoFileCompletions))

	cmd.AddGroup(
		&cobra.Group{ID: groupImages, Title: "Images and their copies:"},
		&cobra.Group{ID: groupPlaces, Title: "Places:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	cmd.SetHelpCommandGroupID(groupOther)
	cmd.SetCompletionCommandGroupID(groupOther)
	cmd.AddCommand(
		c.image(), c.replica(), c.operation(), c.site(), c.store(), c.limit(),
		c.version(), exitCodes(),
	)
	return cmd
}

// noun returns the parent of a resource's verbs.
func noun(use, group, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, GroupID: group, Short: short, Args: noCommand, RunE: showHelp,
		Example: "  atollctl " + use + " " + verbs[0].Name() + " --help",
	}
	cmd.AddCommand(verbs...)
	return cmd
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noCommand refuses arguments of a command that only has subcommands.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := "there is no command \"" + cmd.CommandPath() + " " + args[0] + "\""
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		msg += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fault.New(fault.Invalid, reasonUsage, "%s", msg)
}

// takes returns a check that the arguments are exactly these.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fault.New(fault.Invalid, reasonUsage, "%s is missing; usage: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return fault.New(fault.Invalid, reasonUsage, "%q is one argument too many; usage: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// takesMore returns a check that the arguments are these, the last one at least once.
func takesMore(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fault.New(fault.Invalid, reasonUsage, "%s is missing; usage: %s", names[len(args)], cmd.UseLine())
		}
		return nil
	}
}

// must stops the program for a mistake in its own set-up.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// duration is a flag value that is never negative.
type duration time.Duration

// String returns the value as it is typed.
func (d *duration) String() string { return time.Duration(*d).String() }

// Type names the value in help.
func (d *duration) Type() string { return "duration" }

// Set parses the value.
func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fault.New(fault.Invalid, reasonUsage, "--timeout: %q is not a time such as 30s, 15m or 2h", s)
	}
	*d = duration(v)
	return nil
}
