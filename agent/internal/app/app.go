// Package app assembles the agent from its parts.
package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/agent/internal/identity"
	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/agent/internal/link"
	"github.com/atoll-dcn/atoll/agent/internal/replica"
	"github.com/atoll-dcn/atoll/agent/internal/sums"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/lifecycle"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	"github.com/atoll-dcn/atoll/pkg/telemetry"
)

// Run runs an agent until ctx ends, which yields nil, or a part of it fails.
func Run(ctx context.Context, c *Config, version string, out io.Writer) (err error) {
	log, err := telemetry.NewLogger(out, telemetry.LogOptions{Name: "atoll-agent", Level: c.LogLevel, JSON: c.LogJSON})
	if err != nil {
		return err
	}
	lock, err := lockState(c.StateDir)
	if err != nil {
		return err
	}
	defer closing(&err, lock)
	keeper, err := identity.Open(identity.KeeperConfig{
		StateDir: c.StateDir, Site: image.SiteID(c.Site), Hub: c.Hub.Link.target(), Version: version, Log: log.Named("identity"), Now: time.Now,
	})
	if err != nil {
		return err
	}
	registry := telemetry.NewRegistry()
	journals, err := journal.OpenDir(filepath.Join(c.StateDir, "journal"))
	if err != nil {
		return err
	}
	kept, err := sums.OpenDir(filepath.Join(c.StateDir, "sums"))
	if err != nil {
		return err
	}
	pools, err := openPools(ctx, c.StateDir, c.Stores, log)
	if err != nil {
		return err
	}
	defer pools.close(&err)
	frames, err := framesClient(c.Hub.Frames, keeper)
	if err != nil {
		return err
	}
	manager := replica.New(replica.Config{
		Stores: pools.stores(), Frames: frames, Journal: journals, Sums: kept, Parallel: c.Parallel, Workers: c.Workers, Compact: c.compact(),
		Log: log, Registry: registry, Now: time.Now,
	})
	images := openImageAPI(c, manager, log)
	session := link.New(link.Config{
		Dial:     func() (link.Conn, error) { return dial(c.Hub.Link.target(), keeper, version) },
		Replicas: images.replicas(manager), Awaited: images.waiting(), Version: version, Instance: string(image.NewID()), Log: log.Named("link"),
	})
	observe(registry, session, keeper)
	log.Info("agent started", "version", version, "site", c.Site, "stores", len(c.Stores), "hub", c.Hub.Link.target())
	tasks := []lifecycle.Task{
		{Name: "replicas", Run: manager.Run},
		{Name: "link", Run: session.Run},
		{Name: "identity", Run: keeper.Run},
		{Name: "watchdog", Run: func(ctx context.Context) error { return pools.watch(ctx, log.Named("watchdog")) }},
	}
	serving, err := images.tasks(ctx, image.SiteID(c.Site), pools, manager, session, registry, log)
	if err != nil {
		return err
	}
	tasks = append(tasks, serving...)
	if c.MetricsAddr != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.MetricsAddr)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "metrics_addr: cannot listen on %q", c.MetricsAddr)
		}
		tasks = append(tasks, lifecycle.Task{Name: "metrics", Run: func(ctx context.Context) error {
			return telemetry.Serve(ctx, l, registry, func() (string, error) { return "ok", session.Healthy() })
		}})
	}
	err = lifecycle.Run(ctx, tasks...)
	log.Info("agent stopped", "error", err)
	return err
}

// dial makes a connection for one session, with the certificate that is current then.
func dial(hub string, keeper *identity.Keeper, version string) (link.Conn, error) {
	return rpc.Dial(hub, rpc.DialOptions{TLS: pki.ClientConfig(time.Now, keeper.Current, "h2"), UserAgent: "atoll-agent/" + version})
}

// framesClient returns the client that moves image data.
func framesClient(endpoints []string, keeper *identity.Keeper) (*frame.Client, error) {
	e, err := frame.ParseEndpoints("hub.frames", endpoints)
	if err != nil {
		return nil, err
	}
	transport := frame.NewTransport(e, pki.ClientConfig(time.Now, keeper.Current, "http/1.1"))
	return frame.NewClient(e, &http.Client{Transport: transport}), nil
}

// compact says when chunks are fetched in a shorter form: never without a link, unless somebody insists.
func (c *Config) compact() string {
	if c.Compact == replica.CompactAuto && len(c.Hub.Frames) == 1 && strings.HasPrefix(c.Hub.Frames[0], "unix:") {
		return replica.CompactNever
	}
	return c.Compact
}

// lockState makes the state directory and keeps other agents out of it.
func lockState(dir string) (io.Closer, error) {
	if err := makeState(dir); err != nil {
		return nil, err
	}
	return lockFile(filepath.Join(dir, "lock"))
}

func makeState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "state_dir: cannot be created: %v", plain(err))
	}
	return nil
}

// plain returns what the system says about a file, without the file's path.
func plain(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// closing closes c and keeps its error unless there is one already.
func closing(err *error, c io.Closer) {
	if cerr := c.Close(); cerr != nil && *err == nil && !errors.Is(cerr, os.ErrClosed) {
		*err = cerr
	}
}
