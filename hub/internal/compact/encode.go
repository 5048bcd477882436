package compact

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// plenty is the share of a chunk, in percent, from which on a delta is compared with the compressed chunk.
const plenty = 30

var buffers = sync.Pool{New: func() any { b := make([]byte, 2*frame.MaxSize); return &b }}

// encode makes the frame of a chunk and returns its length, 0 when no form is shorter.
func (s *Store) encode(ctx context.Context, k group, index int) (int64, error) {
	scratch := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	chunk, err := s.o.Contents.ReadChunk(ctx, k.content, index, (*scratch)[:0:manifest.ChunkSize])
	if err != nil {
		return 0, err
	}
	select {
	case s.encoders <- struct{}{}:
		defer func() { <-s.encoders }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	out, err := s.shortest(k, chunk, (*scratch)[manifest.ChunkSize:manifest.ChunkSize])
	if err != nil || len(out) == 0 {
		return 0, err
	}
	s.m.made.Add(float64(len(chunk)))
	return int64(len(out)), s.write(k, index, out)
}

// shortest returns the shortest frame of a chunk in dst, empty when that is the chunk itself.
func (s *Store) shortest(k group, chunk, dst []byte) ([]byte, error) {
	var changed []byte
	if b := s.base(k.base); b != nil {
		var err error
		if changed, err = b.encode(chunk, s.o.Patience); err != nil {
			s.o.Log.Warn("chunk not compared with its base", "content", string(k.content), "base", string(k.base), "error", err)
			s.drop(k.base, b)
			changed = nil
		}
	}
	if changed != nil && len(changed) < len(chunk)/100*plenty {
		dst = frame.Header{Codec: frame.Delta, Raw: len(chunk), Payload: len(changed)}.Append(dst)
		return append(dst, changed...), nil
	}
	out, err := frame.Encode(dst, chunk, frame.Zstd)
	if err != nil {
		return nil, err
	}
	h, err := frame.ParseHeader(out)
	if err != nil {
		return nil, err
	}
	if changed != nil && len(changed) < h.Payload {
		dst = frame.Header{Codec: frame.Delta, Raw: len(chunk), Payload: len(changed)}.Append(dst[:0])
		return append(dst, changed...), nil
	}
	if h.Codec == frame.Raw {
		return nil, nil
	}
	return out, nil
}

// write makes the file of a frame appear at once.
func (s *Store) write(k group, index int, b []byte) error {
	path := s.path(k, index)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diskFault(err)
	}
	temp := path + ".tmp"
	err := os.WriteFile(temp, b, 0o600)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return diskFault(err)
	}
	return nil
}
