package replica

import (
	"context"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// corruptLimit is how often the same thing may arrive corrupt before the attempt fails.
const corruptLimit = 5

// stream reads the manifest of a content from the hub, also while it grows, and holds what has arrived. It survives lost
// connections: it goes on with the first chunk not seen.
type stream struct {
	content image.ID
	// added is called in order for each chunk of data that arrives, if not nil. An error ends the stream.
	added func(i int) error
	// waiting is called before each wait for the hub, flowing when something has arrived.
	waiting func(err error)
	flowing func()

	mu     sync.Mutex
	chunks []manifest.Digest // append-only
	end    *manifest.End
	grown  chan struct{} // closed and replaced when there is more
}

// read reads until the end of the manifest, checks it and returns it. It waits for the hub as long as ctx allows.
// Errors: Corrupt, gone (see gone), what added returns.
func (s *stream) read(ctx context.Context, frames Frames, policy retry.Policy) (*manifest.Manifest, manifest.Digest, error) {
	wait, corrupt := policy.Backoff(), 0
	for {
		got, err := s.follow(ctx, frames)
		switch {
		case err == nil:
			m := &manifest.Manifest{Length: s.end.Length, Chunks: s.chunks}
			return m, s.end.Root, nil
		case ctx.Err() != nil:
			return nil, manifest.Digest{}, ctx.Err()
		case fault.Is(err, fault.Corrupt) && !isStore(err):
			if corrupt++; corrupt == corruptLimit {
				return nil, manifest.Digest{}, err
			}
		case isStore(err) || !hubWait(err):
			return nil, manifest.Digest{}, err
		}
		if got {
			wait.Reset()
		}
		s.waiting(err)
		if err := wait.Wait(ctx); err != nil {
			return nil, manifest.Digest{}, err
		}
	}
}

// follow reads one connection's worth. got says whether any record arrived.
func (s *stream) follow(ctx context.Context, frames Frames) (got bool, _ error) {
	d, closer, err := frames.Manifest(ctx, s.content, len(s.chunks))
	if err != nil {
		return false, err
	}
	defer func() { _ = closer.Close() }()
	for {
		rec, err := d.Next()
		if err != nil {
			return got, err
		}
		got = true
		s.flowing()
		if rec.Index != len(s.chunks) {
			return got, fault.New(fault.Corrupt, "BAD_MANIFEST", "the manifest goes on at chunk %d instead of %d", rec.Index, len(s.chunks))
		}
		if err := s.add(rec); err != nil || rec.End != nil {
			return got, err
		}
	}
}

func (s *stream) add(rec manifest.Record) error {
	if s.added != nil && !rec.Digest.IsZero() {
		if err := s.added(rec.Index); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range rec.Count {
		s.chunks = append(s.chunks, rec.Digest)
	}
	s.end = rec.End
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
	return nil
}

// next waits until there are chunks from number from on, or the end, and returns those known. end is not nil when these
// are all. The slice must not be changed.
func (s *stream) next(ctx context.Context, from int) (chunks []manifest.Digest, end *manifest.End, err error) {
	for {
		s.mu.Lock()
		if len(s.chunks) > from || s.end != nil {
			chunks, end = s.chunks[from:], s.end
			s.mu.Unlock()
			return chunks, end, nil
		}
		if s.grown == nil {
			s.grown = make(chan struct{})
		}
		grown := s.grown
		s.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// known returns the end if it has arrived.
func (s *stream) known() *manifest.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}
