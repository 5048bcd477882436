package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// ticks is how many clock ticks a second has in /proc, on every Linux that Go supports.
const ticks = 100

// result is what one measurement gave. Times are in milliseconds, cpu in seconds of the hub per request.
type result struct {
	rate, p50, p99, cpu float64
}

// measure lets the clients of a load make requests of one kind for some time.
func (b *bench) measure(ctx context.Context, w work, l load, duration time.Duration) (result, error) {
	if _, _, err := b.spin(ctx, w, l, duration/8); err != nil { // warm up
		return result{}, err
	}
	before, err := cpu(b.pid)
	if err != nil {
		return result{}, err
	}
	took, all, err := b.spin(ctx, w, l, duration)
	if err != nil {
		return result{}, err
	}
	after, err := cpu(b.pid)
	if err != nil {
		return result{}, err
	}
	slices.Sort(all)
	at := func(share float64) float64 {
		return float64(all[int(share*float64(len(all)-1))].Microseconds()) / 1000
	}
	n := float64(len(all))
	return result{rate: n / took.Seconds(), p50: at(0.50), p99: at(0.99), cpu: (after - before) / n}, nil
}

// spin returns how long it really took and how long each request took.
func (b *bench) spin(ctx context.Context, w work, l load, duration time.Duration) (time.Duration, []time.Duration, error) {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		all    []time.Duration
		failed error
	)
	began := time.Now()
	for n := range l.clients {
		wg.Go(func() {
			first := began.Add(l.pause * time.Duration(n) / time.Duration(l.clients))
			own, err := b.client(ctx, w, first, l.pause, began.Add(duration))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed == nil && len(all) == 0 {
		failed = fmt.Errorf("no request was answered in %s", duration)
	}
	return time.Since(began), all, failed
}

// client makes one request after the other from one time until another.
func (b *bench) client(ctx context.Context, w work, next time.Time, pause time.Duration, until time.Time) ([]time.Duration, error) {
	c, err := dial(ctx, b.target, b.token)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var all []time.Duration
	for ctx.Err() == nil {
		if pause > 0 {
			time.Sleep(time.Until(next))
			next = next.Add(pause)
		}
		began := time.Now()
		if began.After(until) {
			break
		}
		method, path, kind, body := w.make(b)
		if _, err := c.do(method, path, kind, body, w.code, false); err != nil {
			return nil, err
		}
		all = append(all, time.Since(began))
	}
	return all, ctx.Err()
}

// cpu returns the CPU seconds that a process has used so far, user and system.
func cpu(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var state string
	var skip, user, system int64
	// After the name: the state, ten numbers, then user and system time.
	_, err = fmt.Sscan(rest, &state, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
	return float64(user+system) / ticks, err
}
