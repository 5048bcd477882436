// Program transport measures what moving frames costs over gRPC and over HTTP/1.1, each with and without TLS 1.3.
//
// Server and clients are one process on loopback, so its CPU time is that of both ends. Frames are files in the page
// cache, as in the staging area; the receiver reads each into a buffer it owns and does nothing else with it.
// Variants run in turn, several rounds; the table shows medians.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A fetch moves n frames into buf, one after the other, over a connection or stream of its own.
type fetch func(ctx context.Context, n int, buf []byte) error

// A variant starts a server for the frames in a directory and returns what fetches from it. stop ends all of it.
type variant struct {
	name  string
	start func(dir string, tls bool) (f fetch, stop func(), err error)
}

var variants = []variant{
	{"gRPC, default codec", startProto},
	{"gRPC, raw codec", startRaw},
	{"HTTP/1.1", startHTTP},
	{"HTTP/1.1, unix socket", startUnix},
}

// A result is one run of a variant.
type result struct{ wall, cpu float64 }

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("transport", flag.ContinueOnError)
	rounds := flags.Int("runs", 5, "rounds")
	gib := flags.Int("gib", 1, "GiB to move in each run")
	streams := flags.Int("streams", 4, "streams (gRPC) or connections (HTTP)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := makeFrames()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	results := map[string][]result{}
	var order []string
	for range *rounds {
		for _, tls := range []bool{false, true} {
			for _, v := range variants {
				if tls && v.name == variants[len(variants)-1].name {
					continue // the socket is private to this host
				}
				name := fmt.Sprintf("| %s | %s |", v.name, map[bool]string{false: "no", true: "yes"}[tls])
				r, err := measure(v, dir, tls, *gib, *streams)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if results[name] == nil {
					order = append(order, name)
				}
				results[name] = append(results[name], r)
			}
		}
	}
	fmt.Fprintf(out, "%d streams, frames of 4 MiB, %d GiB a run, medians of %d runs in turn\n\n", *streams, *gib, *rounds)
	fmt.Fprintln(out, "| transport | TLS 1.3 | GiB/s | CPU s/GiB, both ends |\n|---|---|---|---|")
	for _, name := range order {
		wall := median(results[name], func(r result) float64 { return r.wall })
		cpu := median(results[name], func(r result) float64 { return r.cpu })
		fmt.Fprintf(out, "%s %.2f | %.2f |\n", name, float64(*gib)/wall, cpu/float64(*gib))
	}
	return nil
}

// measure runs one variant once, after a warm-up that sets up connections and fills pools.
func measure(v variant, dir string, tls bool, gib, streams int) (result, error) {
	f, stop, err := v.start(dir, tls)
	if err != nil {
		return result{}, err
	}
	defer stop()
	if err := move(f, streams, frameCount); err != nil {
		return result{}, err
	}
	began, cpu := time.Now(), cpuSeconds()
	if err := move(f, streams, gib*framesPerGiB); err != nil {
		return result{}, err
	}
	return result{wall: time.Since(began).Seconds(), cpu: cpuSeconds() - cpu}, nil
}

// move fetches n frames over several streams at once.
func move(f fetch, streams, n int) error {
	g, ctx := errgroup.WithContext(context.Background())
	for range streams {
		g.Go(func() error { return f(ctx, n/streams, make([]byte, frameSize)) })
	}
	return g.Wait()
}

// cpuSeconds returns the user and system time this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail for RUSAGE_SELF
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func median(rs []result, value func(result) float64) float64 {
	vs := make([]float64, 0, len(rs))
	for _, r := range rs {
		vs = append(vs, value(r))
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}
