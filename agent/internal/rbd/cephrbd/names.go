//go:build cgo

package cephrbd

import (
	"context"
	"time"

	librbd "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

type nothing = struct{}

// List implements rbd.Names.
func (p *Pool) List(ctx context.Context) ([]string, error) {
	return do(ctx, p, "list", p.limit(), func(s *session) ([]string, error) {
		names, err := librbd.GetImageNames(s.ioctx)
		if err == nil && len(names) == 0 { // a pool that was deleted looks empty too
			err = p.checkPool(s)
		}
		return names, err
	}, nil)
}

// Rename implements rbd.Names. The step that counts is one change of the pool's directory, see resolve.
func (p *Pool) Rename(ctx context.Context, from, to string) error {
	if err := checkName("to", to); err != nil {
		return err
	}
	return p.change(ctx, "rename", p.limit(), func(s *session) error {
		if err := s.mustExist(from); err != nil {
			return err
		}
		if from == to {
			return exists(to)
		}
		if err := s.makeFree(to); err != nil {
			return err
		}
		err := librbd.GetImage(s.ioctx, from).Rename(to)
		switch errno(err) {
		case unix.EEXIST:
			return exists(to)
		case unix.ENOENT:
			return notFound(from)
		default:
			return err
		}
	}, from, to)
}

// change runs f, which changes what the names stand for, while nothing else in this pool does.
func (p *Pool) change(ctx context.Context, operation string, limit time.Duration, f func(*session) error, names ...string) error {
	for _, name := range names {
		if err := checkName("name", name); err != nil {
			return err
		}
	}
	_, err := changing(ctx, p, operation, limit, func(s *session) (nothing, error) { return nothing{}, f(s) }, nil, names...)
	return err
}

// changing is change with a result. The locks last as long as the library call.
func changing[T any](
	ctx context.Context, p *Pool, operation string, limit time.Duration, f func(*session) (T, error), late func(T), names ...string,
) (T, error) {
	var none T
	s, err := p.session(ctx, operation)
	if err != nil {
		return none, err
	}
	defer p.release(s)
	unlock, err := p.names.lock(ctx, operation, names...)
	if err != nil {
		return none, err
	}
	held := false
	v, err := run(ctx, p.calls, operation, limit, func() (func(), error) {
		held = true
		release := p.retain(s)
		return func() { unlock(); release() }, nil
	}, func() (T, error) {
		v, err := f(s)
		return v, p.examine(s, operation, err)
	}, late)
	if !held {
		unlock()
	}
	return v, err
}

func checkName(field, name string) error {
	if name == "" || len(name) > 200 {
		return fault.BadField(field, "an image name has 1 to 200 characters")
	}
	return nil
}
