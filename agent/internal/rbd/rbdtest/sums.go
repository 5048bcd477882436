package rbdtest

import (
	"context"

	"github.com/cespare/xxhash/v2"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// testSums checks that the sum of a chunk is one of all its bytes, or of fewer that only zeroes follow.
func testSums(e *env) {
	if e.opts.NoSums {
		e.Skip("the driver cannot sum up chunks")
	}
	const last = 1000
	size := int64(6*chunk + last)
	img := e.create("image", size)
	content := make([]byte, size)
	write := func(p []byte, off int64) {
		e.Helper()
		e.write(img, p, off)
		copy(content[off:], p)
	}
	write(pattern(1, chunk), 0)
	write(pattern(2, chunk/2), 2*chunk) // the second half is never written
	write(pattern(3, 10), 3*chunk+4096) // neither begin nor end is
	write(make([]byte, chunk), 4*chunk) // zeroes that are held, or not
	write(pattern(4, chunk), 5*chunk)
	write(pattern(5, last), 6*chunk)
	e.ok("zero", img.Zero(e.ctx, 5*chunk, chunk))
	clear(content[5*chunk : 6*chunk])
	e.ok("flush", img.Flush(e.ctx))
	for i := range 7 { // while it is written
		e.wantSum(img, content, i)
	}
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	snap := e.openSnapshot("image")
	for i := range 7 {
		e.wantSum(snap, content, i)
	}
	for _, i := range []int{1, 5} {
		if _, held, err := snap.Sum(e.ctx, i); err != nil || held {
			e.Errorf("chunk %d: held %v, %v, want nothing", i, held, err)
		}
	}
	for _, i := range []int{0, 6} { // written as a whole: the sum is one of the whole
		part := content[i*chunk : min(int64(i+1)*chunk, size)]
		if got, held, err := snap.Sum(e.ctx, i); err != nil || !held || got != xxhash.Sum64(part) {
			e.Errorf("chunk %d: sum %x, held %v, %v, want %x", i, got, held, err, xxhash.Sum64(part))
		}
	}
	for _, i := range []int{-1, 7} {
		_, _, err := snap.Sum(e.ctx, i)
		e.wantFault("sum of a chunk that is not there", err, fault.Invalid, "")
	}
	done, cancel := context.WithCancel(e.ctx)
	cancel()
	_, _, err := snap.Sum(done, 0)
	e.wantCancelled("sum", err)

	// A snapshot that replaces another has sums of its own.
	e.ok("close", snap.Close())
	e.ok("remove snapshot", img.RemoveSnapshot(e.ctx))
	write(pattern(6, 100), 2*chunk+77)
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.wantSum(e.openSnapshot("image"), content, 2)
	e.wantSum(img, content, 2)
}

type summed interface {
	rbd.Reader
	rbd.Summer
}

// wantSum fails unless the sum of chunk i is one of the content. It reads the chunk as well, so that both agree.
func (e *env) wantSum(r summed, content []byte, i int) {
	e.Helper()
	part := content[i*chunk : min((i+1)*chunk, len(content))]
	e.wantBytes(r, int64(i)*chunk, part)
	sum, held, err := r.Sum(e.ctx, i)
	e.ok("sum", err)
	end := len(part) // what only zeroes follow
	for end > 0 && part[end-1] == 0 {
		end--
	}
	if !held && end == 0 {
		return
	}
	for _, n := range []int{end, chunk / 2, len(part)} { // as it was written above
		if held && n >= end && n <= len(part) && sum == xxhash.Sum64(part[:n]) {
			return
		}
	}
	e.Errorf("chunk %d: sum %x, held %v, is not one of its bytes", i, sum, held)
}
