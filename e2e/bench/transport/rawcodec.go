package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// rawCodec passes bytes through: no protobuf, one copy at the receiver, buffers returned to a pool.
type rawCodec struct{}

// A payload is sent as it is; the transport gives it back to the pool.
type payload struct{ buffer mem.Buffer }

// Marshal hands a payload's buffer to the transport.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case payload:
		return mem.BufferSlice{v.buffer}, nil
	case []byte:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil
	}
	return nil, fmt.Errorf("cannot send a %T", v)
}

// Unmarshal copies a message into the receiver's own buffer.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	buf, ok := v.([]byte)
	if !ok || data.Len() > len(buf) {
		return fmt.Errorf("message of %d bytes does not fit a %T", data.Len(), v)
	}
	data.CopyTo(buf)
	return nil
}

// Name identifies the codec.
func (rawCodec) Name() string { return "raw" }

// startRaw moves frames as raw messages.
func startRaw(dir string, useTLS bool) (fetch, func(), error) {
	pool := mem.NewTieredBufferPool(frameSize)
	handler := func(_ any, s grpc.ServerStream) error {
		var n [8]byte
		if err := s.RecvMsg(n[:]); err != nil {
			return err
		}
		for i := range int(binary.BigEndian.Uint64(n[:])) {
			b := pool.Get(frameSize)
			if err := readFrame(dir, i, *b); err != nil {
				return err
			}
			if err := s.SendMsg(payload{mem.NewBuffer(b, pool)}); err != nil {
				return err
			}
		}
		return nil
	}
	conn, stop, err := serve(handler, useTLS,
		[]grpc.ServerOption{grpc.ForceServerCodecV2(rawCodec{})}, []grpc.CallOption{grpc.ForceCodecV2(rawCodec{})})
	if err != nil {
		return nil, nil, err
	}
	f := func(ctx context.Context, n int, buf []byte) error {
		s, err := open(ctx, conn, binary.BigEndian.AppendUint64(nil, uint64(n)))
		if err != nil {
			return err
		}
		for range n {
			if err := s.RecvMsg(buf); err != nil {
				return err
			}
		}
		return end(s.RecvMsg(buf))
	}
	return f, stop, nil
}
