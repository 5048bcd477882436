package qcow2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
)

// disk is a sink that keeps what it gets.
type disk struct {
	bytes.Buffer
	writes, zeroes int
	longest        int64 // run of zeroes
	fail           error // of everything once there are after bytes
	after          int
}

func (d *disk) Write(p []byte) (int, error) {
	if d.fail != nil && d.Len() >= d.after {
		return 0, d.fail
	}
	if len(p) == 0 || len(p) > windowSize || d.Len()%windowSize != 0 && d.Len()/windowSize != (d.Len()+len(p)-1)/windowSize {
		return 0, errors.New("a write that is empty, too large or not aligned")
	}
	d.writes++
	return d.Buffer.Write(p)
}

func (d *disk) Zero(n int64) error {
	if d.fail != nil && d.Len() >= d.after {
		return d.fail
	}
	if n <= 0 {
		return errors.New("a run of no zeroes")
	}
	d.zeroes++
	d.longest = max(d.longest, n)
	d.Buffer.Write(make([]byte, n))
	return nil
}

// counter is a sink that only counts.
type counter struct {
	data, zero int64
	calls      int
}

func (c *counter) Write(p []byte) (int, error) {
	c.data += int64(len(p))
	c.calls++
	return len(p), nil
}

func (c *counter) Zero(n int64) error {
	c.zero += n
	c.calls++
	return nil
}

// read converts all of a source.
func read(ctx context.Context, source convert.Source, most int64) (*disk, error) {
	image, err := Open(source, most)
	if err != nil {
		return nil, err
	}
	d := &disk{}
	if err := image.WriteTo(ctx, d); err != nil {
		return d, err
	}
	if int64(d.Len()) != image.Size() {
		return d, errors.New("the disk is not as long as the image says")
	}
	return d, nil
}

// same compares a disk with what it should be.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("the disk has %d bytes, want %d", len(got), len(want))
	}
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d of the disk is %#x, want %#x", i, got[i], want[i])
		}
	}
}

// noise is data that does not compress and differs everywhere.
func noise(n int, seed uint64) []byte {
	p := make([]byte, n)
	for i := range p {
		seed = seed*6364136223846793005 + 1442695040888963407
		p[i] = byte(seed >> 56)
	}
	return p
}

// text is data that compresses.
func text(n int, seed uint64) []byte {
	p := noise(n, seed)
	for i := range p {
		p[i] = "atoll, islands"[p[i]%14]
	}
	return p
}

// reader is a source that knows nothing but ReadAt.
type reader struct{ io.ReaderAt }

func source(data []byte) convert.Source { return reader{bytes.NewReader(data)} }
