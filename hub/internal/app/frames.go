package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// socketName is the unix socket in the data directory through which an agent on the hub's own host moves frames.
const socketName = "frames.sock"

// serveTLS serves frames to agents until ctx ends. Requests in progress are cut: agents ask again.
func serveTLS(ctx context.Context, l net.Listener, h http.Handler, c *tls.Config, log hclog.Logger) error {
	s := newServer(h, log)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.Protocols = &protocols
	return serve(ctx, s, tls.NewListener(l, c))
}

// serveLocal serves frames without TLS to processes of the hub's own user or root on the same host.
func serveLocal(ctx context.Context, l net.Listener, h http.Handler, log hclog.Logger) error {
	return serve(ctx, newServer(h, log), peerChecked{l, log})
}

func newServer(h http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listenLocal makes the unix socket. The data directory is locked, so a socket that is there belongs to nobody.
func listenLocal(ctx context.Context, dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "data-dir: a socket cannot be made there; its path may be too long")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// peerChecked accepts connections of the hub's own user and of root only.
type peerChecked struct {
	net.Listener
	log hclog.Logger
}

func (p peerChecked) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == 0 || uid == os.Getuid()) {
			return c, nil
		}
		p.log.Warn("local connection refused", "uid", uid, "error", err)
		_ = c.Close()
	}
}

// peerUID returns the user at the other end of a unix socket.
func peerUID(c net.Conn) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return -1, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}
