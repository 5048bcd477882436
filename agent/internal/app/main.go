package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/agent/internal/identity"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/telemetry"
)

var errUsage = errors.New("see atoll-agent --help")

// Main runs the command line and returns the exit code: 0 done, 1 failed, 2 bad usage or configuration. version is the
// linker's.
func Main(ctx context.Context, version string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(telemetry.Version(version)).ExecuteContext(ctx); err != nil {
		text := err.Error()
		if e, ok := fault.As(err); ok && e.Class != fault.Internal {
			text = fault.Public(err) + " [" + fault.ReasonOf(err) + "]"
		}
		fmt.Fprintln(os.Stderr, "atoll-agent:", text)
		if fault.Is(err, fault.Invalid) || errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	return 0
}

func command(version string) *cobra.Command {
	root := &cobra.Command{
		Use:           "atoll-agent",
		Short:         "Write images into the stores of a site as the hub wants them",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	root.AddCommand(runCommand(version), joinCommand(version))
	return root
}

func runCommand(version string) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "Serve the site until stopped", Args: cobra.NoArgs,
		Example: "  atoll-agent run --config /etc/atoll/agent.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			return Run(cmd.Context(), c, version, os.Stderr)
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func joinCommand(version string) *cobra.Command {
	var path, token string
	cmd := &cobra.Command{
		Use: "join --config FILE --token TOKEN", Short: "Get this site's certificate from the hub", Args: cobra.NoArgs,
		Long: `join trades a one-time token, which "atollctl site create" or "atollctl site token" has printed, for a certificate and keeps
it in the state directory. Certificates that the site had before stop working. The agent renews the certificate by itself.`,
		Example: "  atoll-agent join --config /etc/atoll/agent.yaml --token atoll1.Y2VudHJh...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
				return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "state_dir: cannot be created")
			}
			expires, err := identity.Join(cmd.Context(), identity.JoinOptions{
				Token: token, Site: image.SiteID(c.Site), Hub: c.Hub.Link, StateDir: c.StateDir, Version: version, Now: time.Now,
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "site %s has joined the hub; its certificate is renewed before %s\n", c.Site, expires.UTC().Format(time.RFC3339))
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&token, "token", "", "join token")
	_ = cmd.MarkFlagRequired("token") // fails only for a flag that does not exist
	return cmd
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "/etc/atoll/agent.yaml", "configuration file")
}
