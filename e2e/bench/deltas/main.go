// Deltas compares ways to send the second version of a disk image to somebody who has the first: bytes on the wire, and
// the processor time of the side that makes them and of the side that puts the image together again.
//
//	go run ./e2e/bench/deltas OLD NEW...
//
// OLD and NEW are raw files. Each method sees chunks of 4 MiB and skips those that hold zeroes only.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// disk is an image in memory.
type disk struct {
	data   []byte
	chunks []int // numbers of those that are not zero
}

var zeroes = make([]byte, manifest.ChunkSize)

func read(path string) (*disk, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, err
	}
	d := &disk{data: b}
	for i := range (len(b) + manifest.ChunkSize - 1) / manifest.ChunkSize {
		if c := d.chunk(i); !bytes.Equal(c, zeroes[:len(c)]) {
			d.chunks = append(d.chunks, i)
		}
	}
	return d, nil
}

func (d *disk) chunk(i int) []byte {
	return d.data[i*manifest.ChunkSize : min(len(d.data), (i+1)*manifest.ChunkSize)]
}

// size returns how many bytes the chunks have that are not zero.
func (d *disk) size() (n int) {
	for _, i := range d.chunks {
		n += len(d.chunk(i))
	}
	return n
}

// result is what a method needs for one pair.
type result struct {
	wire         int // bytes
	encode, back time.Duration
}

// method sends next to somebody who has old.
type method struct {
	name string
	run  func(old, next *disk) (result, error)
}

var methods = []method{
	{"every chunk, zstd fastest", whole},
	{"blocks of 4 KiB at the same place (export-diff at best)", samePlace},
	{"blocks of 4 KiB anywhere, rest zstd", blocks},
	{"content-defined chunks of 64 KiB, zstd (desync's defaults)", contentDefined},
	{"Atoll's deltas", deltas},
}

// cpu returns the processor time that the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// timed returns the processor time that f takes.
func timed(f func() error) (time.Duration, error) {
	began := cpu()
	err := f()
	return cpu() - began, err
}

func run(oldPath string, newPaths []string) error {
	old, err := read(oldPath)
	if err != nil {
		return err
	}
	const mib = 1 << 20
	for _, path := range newPaths {
		next, err := read(path)
		if err != nil {
			return err
		}
		fmt.Printf("\n%s after %s: %d MiB of data, before %d MiB\n\n", filepath.Base(path), filepath.Base(oldPath), next.size()/mib, old.size()/mib)
		fmt.Printf("| method | MiB on the wire | share | CPU s to make | CPU s to apply |\n|---|---|---|---|---|\n")
		for _, m := range methods {
			r, err := m.run(old, next)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			fmt.Printf("| %s | %.1f | 1/%.1f | %.1f | %.1f |\n", m.name, float64(r.wire)/mib, float64(next.size())/float64(r.wire),
				r.encode.Seconds(), r.back.Seconds())
		}
	}
	return nil
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: deltas OLD NEW...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "deltas:", err)
		os.Exit(1)
	}
}
