package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/atoll-dcn/atoll/pkg/delta"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

var errDiffers = errors.New("what comes out differs")

// whole sends every chunk, compressed.
func whole(_, next *disk) (r result, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return r, err
	}
	var sent [][]byte
	r.encode, err = timed(func() error {
		for _, i := range next.chunks {
			sent = append(sent, enc.EncodeAll(next.chunk(i), nil))
			r.wire += len(sent[len(sent)-1])
		}
		return nil
	})
	if err == nil {
		r.back, err = inflateAll(sent)
	}
	return r, err
}

func inflateAll(sent [][]byte) (used time.Duration, err error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return 0, err
	}
	defer dec.Close()
	buf := make([]byte, 0, manifest.ChunkSize)
	return timed(func() error {
		for _, z := range sent {
			if _, err := dec.DecodeAll(z, buf[:0]); err != nil {
				return err
			}
		}
		return nil
	})
}

const block = 4096

func zero(p []byte) bool { return bytes.Equal(p, zeroes[:len(p)]) }

// samePlace sends the blocks that differ from what is at the same place, as they are.
func samePlace(old, next *disk) (r result, err error) {
	r.encode, err = timed(func() error {
		for at := 0; at < len(next.data); at += block {
			b := next.data[at:min(len(next.data), at+block)]
			if at+len(b) > len(old.data) && !zero(b) || at+len(b) <= len(old.data) && !bytes.Equal(b, old.data[at:at+len(b)]) {
				r.wire += len(b) + 16
			}
		}
		return nil
	})
	return r, err
}

// blocks sends a map of the blocks that the old image has anywhere, and the others compressed chunk by chunk.
func blocks(old, next *disk) (r result, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return r, err
	}
	var sent [][]byte
	r.encode, err = timed(func() error {
		have := map[[16]byte]bool{}
		for _, i := range old.chunks {
			c := old.chunk(i)
			for at := 0; at < len(c); at += block {
				have[sum(c[at:min(len(c), at+block)])] = true
			}
		}
		for _, i := range next.chunks {
			c, rest, moves := next.chunk(i), []byte(nil), 0
			for at, follows := 0, false; at < len(c); at += block {
				b := c[at:min(len(c), at+block)]
				known := zero(b) || have[sum(b)]
				if !known {
					rest = append(rest, b...)
				}
				if known != follows { // a run of copies costs an entry
					moves++
				}
				follows = known
			}
			sent = append(sent, enc.EncodeAll(rest, nil))
			r.wire += len(sent[len(sent)-1]) + moves*6
		}
		return nil
	})
	if err == nil {
		r.back, err = inflateAll(sent)
	}
	return r, err
}

func sum(p []byte) (s [16]byte) {
	d := blake3.Sum256(p)
	copy(s[:], d[:])
	return s
}

// contentDefined cuts both images where their contents say, 64 KiB on average, 16 to 256, and sends the new pieces compressed
// one by one, with an index of 40 bytes for each.
func contentDefined(old, next *disk) (r result, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return r, err
	}
	var sent [][]byte
	r.encode, err = timed(func() error {
		have := map[[16]byte]bool{}
		cut(old.data, func(p []byte) { have[sum(p)] = true })
		cut(next.data, func(p []byte) {
			r.wire += 40
			if s := sum(p); !have[s] {
				have[s] = true
				sent = append(sent, enc.EncodeAll(p, nil))
				r.wire += len(sent[len(sent)-1])
			}
		})
		return nil
	})
	if err == nil {
		r.back, err = inflateAll(sent)
	}
	return r, err
}

var gear = func() (g [256]uint64) {
	r := rand.New(rand.NewPCG(9, 9)) //nolint:gosec // not a secret
	for i := range g {
		g[i] = r.Uint64()
	}
	return g
}()

func cut(p []byte, f func([]byte)) {
	const least, most, mask = 16 << 10, 256 << 10, (1<<16 - 1) << 32
	for len(p) > 0 {
		n, h := min(least, len(p)), uint64(0)
		for ; n < len(p) && n < most; n++ {
			if h = h<<1 + gear[p[n]]; h&mask == 0 {
				break
			}
		}
		f(p[:n])
		p = p[n:]
	}
}

// deltas sends what package delta makes, and puts the image together again to be sure.
func deltas(old, next *disk) (r result, err error) {
	base := bytes.NewReader(old.data)
	sent := make([][]byte, len(next.chunks))
	r.encode, err = timed(func() error {
		x := delta.NewIndex(int64(old.size()))
		for _, i := range old.chunks {
			x.Add(int64(i)*manifest.ChunkSize, old.chunk(i))
		}
		e := delta.NewEncoder(x, base)
		for k, i := range next.chunks {
			d, err := e.Encode(nil, next.chunk(i))
			if err != nil {
				return err
			}
			sent[k] = d
			r.wire += min(len(d), len(next.chunk(i))) + 16
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	buf := make([]byte, manifest.ChunkSize)
	r.back, err = timed(func() error {
		for k, i := range next.chunks {
			c := next.chunk(i)
			if err := delta.Apply(buf[:len(c)], sent[k], base); err != nil {
				return err
			}
			if !bytes.Equal(buf[:len(c)], c) {
				return errDiffers
			}
		}
		return nil
	})
	return r, err
}
