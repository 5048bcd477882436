package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/agent/internal/identity"
	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
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
	return report(os.Stderr, command(telemetry.Version(version)).ExecuteContext(ctx)) //nolint:contextcheck // cobra hands ctx on
}

// report says what went wrong, if anything, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	text := err.Error()
	if e, ok := fault.As(err); ok && e.Class != fault.Internal {
		text = fault.Public(err) + " [" + fault.ReasonOf(err) + "]"
	}
	_, _ = fmt.Fprintln(w, "atoll-agent:", text)
	if fault.Is(err, fault.Invalid) || errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func command(version string) *cobra.Command {
	root := &cobra.Command{
		Use:           "atoll-agent",
		Short:         "Write images into the stores of a site as the hub wants them",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	root.AddCommand(runCommand(version), joinCommand(version), versionCommand(version))
	for _, cmd := range append(root.Commands(), root) {
		cmd.Args = noArgs
	}
	return root
}

// noArgs refuses arguments, unknown commands among them.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	return nil
}

func runCommand(version string) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "Serve the site until stopped",
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
		Use: "join --config FILE --token TOKEN", Short: "Get this site's certificate from the hub",
		Long: `join trades a one-time token, which "atollctl site create" or "atollctl site token" has printed, for a certificate and keeps
it in the state directory. Certificates that the site had before stop working. The agent renews the certificate by itself; one
that is running uses the new one at once.

With --token - the token is read from standard input, where other users of this machine do not see it.`,
		Example: "  atoll-agent join --config /etc/atoll/agent.yaml --token atoll1.Y2VudHJh...",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			if token, err = tokenText(cmd.InOrStdin(), token); err != nil {
				return err
			}
			if err := makeState(c.StateDir); err != nil {
				return err
			}
			expires, err := identity.Join(cmd.Context(), identity.JoinOptions{
				Token: token, Site: image.SiteID(c.Site), Hub: c.Hub.Link.target(), StateDir: c.StateDir, Version: version, Now: time.Now,
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "site %s has joined the hub; its certificate is renewed before %s\n", c.Site, expires.UTC().Format(time.RFC3339))
			return err
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&token, "token", "", "join token, or - to read it from standard input (required)")
	return cmd
}

// mostToken bounds what is read from standard input.
const mostToken = 4 << 10

// tokenText returns the token itself.
func tokenText(in io.Reader, flag string) (string, error) {
	switch flag {
	case "":
		return "", fault.BadField("token", "is required; `atollctl site create` and `atollctl site token` print one")
	case "-":
		b, err := io.ReadAll(io.LimitReader(in, mostToken))
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		return string(b), nil
	default:
		return flag, nil
	}
}

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version and the store drivers of this build",
		RunE: func(cmd *cobra.Command, _ []string) error {
			drivers := driverFile
			if cephrbd.Available {
				drivers = driverCeph + ", " + driverFile
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "atoll-agent %s (stores: %s)\n", version, drivers)
			return err
		},
	}
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "/etc/atoll/agent.yaml", "configuration file")
}
