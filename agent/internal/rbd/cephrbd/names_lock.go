//go:build cgo

package cephrbd

import (
	"context"
	"slices"
	"sync"
)

// nameLocks keeps calls that change the same name apart. A lock belongs to the library call, not to the method that began
// it: an abandoned call keeps its names until it ends.
type nameLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the name is free again
}

// lock waits for all names, taken in order so that two callers cannot wait for each other.
func (l *nameLocks) lock(ctx context.Context, operation string, names ...string) (unlock func(), err error) {
	slices.Sort(names)
	names = slices.Compact(names)
	var taken []string
	unlock = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, name := range taken {
			close(l.held[name])
			delete(l.held, name)
		}
	}
	for _, name := range names {
		if err := l.take(ctx, operation, name); err != nil {
			unlock()
			return nil, err
		}
		taken = append(taken, name)
	}
	return unlock, nil
}

func (l *nameLocks) take(ctx context.Context, operation, name string) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.mu.Lock()
		busy, held := l.held[name]
		if !held {
			l.held[name] = make(chan struct{})
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ended(ctx, operation)
		}
	}
}
