// Package embedded runs a single etcd member inside the hub, for installations without an etcd cluster of their own.
//
// The member listens on a unix socket that only the hub's user can reach, and on no network port at all.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// quotaBytes bounds the database. At the quota all writes stop until somebody makes room.
const quotaBytes = 2 << 30

// plainSocket matches paths that a unix socket can have: the kernel takes 107 bytes, and the client reads the path as part
// of a URL without unescaping it.
var plainSocket = regexp.MustCompile(`^[A-Za-z0-9/._-]{1,107}$`)

// peerURL is what the member calls itself in its own database. Nobody ever dials it: there are no peers and no listener
// for them. Being a constant it never has to change, wherever the data directory moves.
var peerURL = url.URL{Scheme: "http", Host: "127.0.0.1:2380"}

// Server is a running etcd member.
type Server struct {
	etcd   *embed.Etcd
	socket string
	tmp    string // directory of the socket when the data directory cannot have it
	lock   io.Closer

	quiet  atomic.Bool
	closed sync.Once
}

// Start starts etcd with its data in dir/etcd, which it creates, and blocks until it takes requests or ctx ends. The data
// survives a kill of the process at any moment. Starting a second server on the same data fails with Precondition
// DATA_DIR_IN_USE. Close the server when done, after the clients.
func Start(ctx context.Context, dir string, log hclog.Logger) (*Server, error) {
	dir, err := filepath.Abs(filepath.Join(dir, "etcd"))
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if s.lock, err = LockDir(dir); err != nil {
		return nil, err
	}
	if err := s.start(ctx, dir, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, dir string, log hclog.Logger) (err error) {
	if s.socket = filepath.Join(dir, "client.sock"); !plainSocket.MatchString(s.socket) {
		if s.tmp, err = os.MkdirTemp("", "atoll-etcd-"); err != nil {
			return err
		}
		s.socket = filepath.Join(s.tmp, "client.sock")
	}
	if s.etcd, err = embed.StartEtcd(config(dir, s.socket, bridge(log, &s.quiet))); err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
		return nil
	case err := <-s.etcd.Err():
		return fmt.Errorf("start etcd: %w", err)
	case <-ctx.Done():
		return fault.Wrap(context.Cause(ctx), fault.Unavailable, "STORE_UNAVAILABLE", "the store of records did not start in time")
	}
}

func config(dir, socket string, log *zap.Logger) *embed.Config {
	c := embed.NewConfig()
	c.Name = "atoll-hub"
	c.Dir = filepath.Join(dir, "data")
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{peerURL}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.EnableGRPCGateway = false
	c.QuotaBackendBytes = quotaBytes
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = time.Hour.String()
	c.WatchProgressNotifyInterval = 30 * time.Second
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	return c
}

// Endpoints returns where clients in this process, or of the same user, connect.
func (s *Server) Endpoints() []string { return []string{"unix://" + s.socket} }

// Err delivers the error of a server that stopped by itself; the hub must stop then. It is closed by Close.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server and blocks until all is on disk and the data directory is free again. Calling it again does
// nothing.
func (s *Server) Close() (err error) {
	s.closed.Do(func() {
		s.quiet.Store(true)
		if s.etcd != nil {
			s.etcd.Close()
		}
		if s.tmp != "" {
			err = os.RemoveAll(s.tmp)
		}
		err = errors.Join(err, s.lock.Close())
	})
	return err
}
