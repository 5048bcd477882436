package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/telemetry"
)

// Config is everything an operator can choose.
type Config struct {
	Version        string // of this software
	DataDir        string
	EtcdEndpoints  []string
	GRPCAddr       string
	LinkAddr       string
	FramesAddr     string
	MetricsAddr    string
	CentralStore   string
	StagingLimit   string
	Retention      time.Duration
	TokenLife      time.Duration
	CertificateTTL time.Duration
	Heartbeat      time.Duration
	Settings       reconcile.Settings
	Log            telemetry.LogOptions
}

// Main runs the hub with the command line's flags until it fails or is told to stop, and returns the exit code: 0 done, 1
// failed, 2 bad usage. version is the linker's.
func Main(ctx context.Context, version string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(telemetry.Version(version)).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "atoll-hub:", text(err))
		if fault.Is(err, fault.Invalid) || errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	return 0
}

// text is what an operator at the command line should read.
func text(err error) string {
	if e, ok := fault.As(err); ok && e.Class != fault.Internal {
		return err.Error() + " [" + e.Reason + "]"
	}
	return err.Error()
}

var errUsage = errors.New("see atoll-hub --help")

func command(version string) *cobra.Command {
	c := Config{Version: version, Settings: reconcile.DefaultSettings()}
	cmd := &cobra.Command{
		Use:   "atoll-hub",
		Short: "Keep the catalog of images and feed the sites",
		Long: `atoll-hub keeps the catalog of images and their copies, takes image data in and serves it to the agents of the sites.

Without --etcd-endpoints it keeps its records in an embedded etcd below --data-dir. The user-facing API has no
authentication yet: --grpc-addr must be a loopback address.`,
		Example:       "  atoll-hub --data-dir /var/lib/atoll-hub\n  atoll-hub --data-dir /var/lib/atoll-hub --etcd-endpoints http://10.0.0.1:2379,http://10.0.0.2:2379",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return Run(cmd.Context(), c, os.Stderr) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", "", "directory for records, staging area and CA (required)")
	f.StringSliceVar(&c.EtcdEndpoints, "etcd-endpoints", nil, "external etcd cluster instead of the embedded one")
	f.StringVar(&c.GRPCAddr, "grpc-addr", "127.0.0.1:9393", "address of the user-facing API, loopback only")
	f.StringVar(&c.LinkAddr, "link-addr", ":9394", "address agents connect to")
	f.StringVar(&c.FramesAddr, "frames-addr", ":9395", "address agents move image data through")
	f.StringVar(&c.MetricsAddr, "metrics-addr", "127.0.0.1:9396", "address of /metrics and /healthz; empty for none")
	f.StringVar(&c.CentralStore, "central-store", "central", "id of the central store")
	f.StringVar(&c.StagingLimit, "staging-limit", "50GiB", "most space the staging area takes")
	f.DurationVar(&c.Retention, "staging-retention", 10*time.Minute, "how long staged data stays that nobody needs")
	f.DurationVar(&c.TokenLife, "join-token-life", 24*time.Hour, "how long a join token works")
	f.DurationVar(&c.CertificateTTL, "agent-cert-life", 30*24*time.Hour, "how long an agent's certificate works")
	f.DurationVar(&c.Heartbeat, "heartbeat", 5*time.Second, "longest silence on the link to an agent")
	f.DurationVar(&c.Settings.OfflineTimeout, "offline-timeout", c.Settings.OfflineTimeout, "a copy has failed after waiting so long for its site")
	f.DurationVar(&c.Settings.CheckTimeout, "delete-check-timeout", c.Settings.CheckTimeout, "how long a delete waits for a connected site before it leaves a tombstone")
	f.DurationVar(&c.Settings.RetryInitial, "retry-initial", c.Settings.RetryInitial, "wait before a failed copy is tried again, doubling each time")
	f.DurationVar(&c.Settings.RetryMax, "retry-max", c.Settings.RetryMax, "longest wait before a failed copy is tried again")
	f.StringVar(&c.Log.Level, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&c.Log.JSON, "log-json", false, "log one JSON object a line")
	return cmd
}

// check returns the first thing that is wrong.
func (c *Config) check() (central image.StoreID, limit int64, err error) {
	if c.DataDir == "" {
		return "", 0, fault.BadField("data-dir", "is required, for example --data-dir /var/lib/atoll-hub")
	}
	if central, err = image.ParseStoreID("central-store", c.CentralStore); err != nil {
		return "", 0, err
	}
	if limit, err = parseSize("staging-limit", c.StagingLimit); err != nil {
		return "", 0, err
	}
	if err := loopback(c.GRPCAddr); err != nil {
		return "", 0, err
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"offline-timeout", c.Settings.OfflineTimeout},
		{"delete-check-timeout", c.Settings.CheckTimeout},
		{"retry-initial", c.Settings.RetryInitial},
		{"retry-max", c.Settings.RetryMax},
		{"heartbeat", c.Heartbeat},
		{"join-token-life", c.TokenLife},
		{"agent-cert-life", c.CertificateTTL},
	} {
		if d.v <= 0 {
			return "", 0, fault.BadField(d.name, "must be longer than 0, such as 5s or 24h")
		}
	}
	return central, limit, nil
}

// loopback refuses an address that others could reach: the user-facing API has no authentication yet.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fault.BadField("grpc-addr", "%q is not a loopback address such as 127.0.0.1:9393", addr)
	}
	return nil
}

// parseSize reads a number of bytes with an optional unit KiB, MiB, GiB or TiB.
func parseSize(field, s string) (int64, error) {
	shift := 0
	number := s
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number, shift = n, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fault.BadField(field, "%q is not a size such as 50GiB", s)
	}
	return n << shift, nil
}
