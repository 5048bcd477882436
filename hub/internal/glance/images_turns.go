package glance

import (
	"context"
	"hash/crc32"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// turns makes changes of one image wait for each other. The catalog loses no change without it, but of many clients that
// change one image at once only one would succeed at a time, and the others repeat themselves until they are refused.
// Images share turns by a hash of their ids, so the number of turns is fixed.
type turns [1024]chan struct{}

func newTurns() *turns {
	t := new(turns)
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	return t
}

// do calls change when it is its turn, or returns why ctx ended before.
func (t *turns) do(ctx context.Context, id image.ID, change func() error) error {
	turn := t[crc32.ChecksumIEEE([]byte(id))%uint32(len(t))]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-turn }()
	return change()
}
