package berth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestShare(t *testing.T) {
	t.Parallel()
	p := New(4, 3)
	ended, end := context.WithCancel(t.Context())
	end()
	var gives []func()
	take := func(holder string) error {
		give, err := p.Take(ended, holder)
		if err == nil {
			gives = append(gives, give)
		}
		return err
	}
	for range 3 {
		if err := take("a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("a"); !errors.Is(err, context.Canceled) {
		t.Errorf("more than a share: %v", err)
	}
	if err := take("b"); err != nil {
		t.Errorf("another one, while a place is free: %v", err)
	}
	if err := take("c"); !errors.Is(err, context.Canceled) || p.Taken() != 4 {
		t.Errorf("%d are taken, then %v", p.Taken(), err)
	}
	if _, ok := p.Try("c"); ok {
		t.Error("one is free without being given back")
	}
	gives[0]()
	if err := take("c"); err != nil {
		t.Errorf("after one was given back: %v", err)
	}
	gives[1]()
	if give, ok := p.Try("c"); !ok {
		t.Error("none is free after one was given back")
	} else {
		gives[1] = give
	}
	for _, give := range gives[1:] {
		give()
	}
	if p.Taken() != 0 || len(p.held) != 0 {
		t.Errorf("%d are taken, %d holders are remembered", p.Taken(), len(p.held))
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	p := New(3, 2)
	var now, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			give, err := p.Take(t.Context(), []string{"a", "b", "c"}[i%3])
			if err != nil {
				t.Error(err)
				return
			}
			defer give()
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			now.Add(-1)
		})
	}
	wg.Wait()
	if most.Load() > 3 || p.Taken() != 0 {
		t.Errorf("%d at once, %d left", most.Load(), p.Taken())
	}
}
