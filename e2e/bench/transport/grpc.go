package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const method = "/bench.Frames/Fetch"

// serve starts a gRPC server with one server-streaming method and dials it.
func serve(handler grpc.StreamHandler, useTLS bool, so []grpc.ServerOption, co []grpc.CallOption) (*grpc.ClientConn, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	creds := insecure.NewCredentials()
	if useTLS {
		serverTLS, clientTLS, err := tlsPair()
		if err != nil {
			return nil, nil, err
		}
		so, creds = append(so, grpc.Creds(credentials.NewTLS(serverTLS))), credentials.NewTLS(clientTLS)
	}
	server := grpc.NewServer(so...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Frames", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Fetch", Handler: handler, ServerStreams: true}},
	}, nil)
	go func() { _ = server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(append(co, grpc.MaxCallRecvMsgSize(2*frameSize))...))
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	return conn, func() { _ = conn.Close(); server.Stop() }, nil
}

// open starts a stream and asks for n frames.
func open(ctx context.Context, conn *grpc.ClientConn, request any) (grpc.ClientStream, error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(request); err != nil {
		return nil, err
	}
	return s, s.CloseSend()
}

// startProto moves frames as ordinary messages with a bytes field.
func startProto(dir string, useTLS bool) (fetch, func(), error) {
	handler := func(_ any, s grpc.ServerStream) error {
		n := new(wrapperspb.Int64Value)
		if err := s.RecvMsg(n); err != nil {
			return err
		}
		buf := make([]byte, frameSize)
		for i := range int(n.GetValue()) {
			if err := readFrame(dir, i, buf); err != nil {
				return err
			}
			if err := s.SendMsg(wrapperspb.Bytes(buf)); err != nil {
				return err
			}
		}
		return nil
	}
	conn, stop, err := serve(handler, useTLS, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	f := func(ctx context.Context, n int, buf []byte) error {
		s, err := open(ctx, conn, wrapperspb.Int64(int64(n)))
		if err != nil {
			return err
		}
		m := new(wrapperspb.BytesValue)
		for range n {
			if err := s.RecvMsg(m); err != nil {
				return err
			}
			copy(buf, m.GetValue())
		}
		return end(s.RecvMsg(m))
	}
	return f, stop, nil
}

// end expects the end of a stream.
func end(err error) error {
	if err != io.EOF { //nolint:errorlint // grpc returns io.EOF itself
		return fmt.Errorf("stream goes on: %w", err)
	}
	return nil
}

func readFrame(dir string, i int, buf []byte) error {
	file, err := os.Open(framePath(dir, i))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.ReadFull(file, buf)
	return err
}
