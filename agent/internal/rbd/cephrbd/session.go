//go:build cgo

package cephrbd

import (
	"context"
	"strconv"
	"time"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// session is one connection to the cluster. It is shut down when it has been retired and its last user has let go, because
// using a handle after the shutdown crashes the process.
type session struct {
	conn   *rados.Conn
	ioctx  *rados.IOContext
	poolID int64
	fsid   string

	refs    int  // users, plus one while it is the pool's current session; guarded by Pool.mu
	retired bool // guarded by Pool.mu
}

// dial is an attempt to connect, shared by all who wait for it.
type dial struct {
	done chan struct{}
	err  error // read after done
}

// session returns the current session, connecting if there is none. The caller gives it back with release.
func (p *Pool) session(ctx context.Context, operation string) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, closed("store")
		}
		if s := p.current; s != nil {
			s.refs++
			p.mu.Unlock()
			return s, nil
		}
		d := p.attempt
		if d == nil {
			d = &dial{done: make(chan struct{})}
			p.attempt = d
			// Not in a slot: the slots may be full of calls that wait for the old connection to time out.
			p.calls.begin("connect", 3*(p.config.MountTimeout+p.config.MonTimeout), func() { p.connect(d) })
		}
		p.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, ended(ctx, operation)
		}
	}
}

// connect makes a session the current one.
func (p *Pool) connect(d *dial) {
	s, err := p.newSession()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempt = nil
	d.err = err
	defer close(d.done)
	if err == nil {
		p.sessions++
	}
	switch {
	case err != nil:
		if reason := fault.ReasonOf(err); reason != p.lastReason { // once, not at every attempt
			p.lastReason = reason
			p.config.Log.Warn("cannot connect to the Ceph cluster", "pool", p.config.Pool, "reason", reason, "error", err)
		}
	case p.closed:
		s.refs, s.retired = 1, true
		d.err = closed("store")
		p.calls.begin("disconnect", p.config.MountTimeout, func() { p.release(s) })
	default:
		s.refs = 1
		p.current, p.lastReason = s, ""
		p.config.Log.Info("connected to the Ceph cluster", "pool", p.config.Pool, "fsid", s.fsid)
	}
}

func (p *Pool) newSession() (*session, error) {
	conn, err := rados.NewConnWithUser(p.config.User)
	if err != nil {
		return nil, classify("make a connection", err)
	}
	// A connection that never got through cannot be shut down explicitly; go-ceph frees it when it is collected.
	if err := p.configure(conn); err != nil {
		return nil, fault.Wrap(err, fault.Precondition, "STORE_CONFIG", "the Ceph configuration of the store cannot be read")
	}
	if err := conn.Connect(); err != nil {
		switch errno(err) {
		case unix.ENOENT:
			return nil, fault.Wrap(err, fault.Denied, "NO_ACCESS", "there is no key for the Ceph user of the store")
		case unix.EINVAL:
			return nil, fault.Wrap(err, fault.Precondition, "STORE_CONFIG", "the Ceph configuration or the key of the store is malformed")
		default:
			return nil, classify("connect", err)
		}
	}
	p.fence(conn)
	s := &session{conn: conn}
	if s.fsid, err = conn.GetFSID(); err != nil {
		conn.Shutdown()
		return nil, classify("ask for the cluster's id", err)
	}
	if s.ioctx, err = conn.OpenIOContext(p.config.Pool); err != nil {
		conn.Shutdown()
		if errno(err) == unix.ENOENT {
			return nil, poolMissing(p.config.Pool)
		}
		return nil, classify("open the pool", err)
	}
	// Without this a write to a full pool waits for space until it times out, and looks like a cluster that does not answer.
	// Images inherit it from the context they are opened with.
	if err := s.ioctx.SetPoolFullTry(); err != nil {
		s.ioctx.Destroy()
		conn.Shutdown()
		return nil, classify("configure the pool", err)
	}
	s.poolID = s.ioctx.GetPoolID()
	return s, nil
}

// configure sets what must be set before Connect: afterwards the timeouts are ignored.
func (p *Pool) configure(conn *rados.Conn) error {
	if err := conn.ReadConfigFile(p.config.ConfFile); err != nil {
		return err
	}
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	for _, o := range [][2]string{
		{"client_mount_timeout", seconds(p.config.MountTimeout)},
		{"rados_mon_op_timeout", seconds(p.config.MonTimeout)},
		{"rados_osd_op_timeout", seconds(p.config.OSDTimeout)},
		{"rbd_cache", "false"},                // a write that returned is on the OSD, and errors come from the call that failed
		{"rbd_skip_partial_discard", "false"}, // or Zero would leave parts of objects as they are
		{"rbd_default_clone_format", "2"},     // what the admin's tools do as well
		{"rbd_move_to_trash_on_remove", "false"},
		{"admin_socket", ""}, // several clients of one name would fight for it
	} {
		if err := conn.SetConfigOption(o[0], o[1]); err != nil {
			return err
		}
	}
	return nil
}

// retire stops the use of a session for anything new.
func (p *Pool) retire(s *session, why string) {
	p.mu.Lock()
	if s.retired {
		p.mu.Unlock()
		return
	}
	s.retired = true
	if p.current == s {
		p.current = nil
	}
	p.mu.Unlock()
	p.config.Log.Warn("connection to the Ceph cluster given up", "pool", p.config.Pool, "reason", why)
	p.release(s)
}

// retain adds a user to a session that the caller uses already.
func (p *Pool) retain(s *session) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.refs++
	return func() { p.release(s) }
}

// release ends one use of a session. The last one of a retired session shuts the connection down.
func (p *Pool) release(s *session) {
	p.mu.Lock()
	s.refs--
	last := s.refs == 0
	p.mu.Unlock()
	if last {
		s.ioctx.Destroy()
		s.conn.Shutdown()
		p.mu.Lock()
		p.sessions--
		p.mu.Unlock()
	}
}
