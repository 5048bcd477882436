package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// silences is how many heartbeat intervals the hub may stay silent before the link counts as dead.
const silences = 3

// maxReport bounds the replicas of one message in encoded bytes; gRPC's limit of 4 MiB is far away.
const maxReport = 1 << 20

// goodbyeError says that the hub has ended the session in order.
type goodbyeError struct {
	reason string
	after  time.Duration
}

func (e *goodbyeError) Error() string { return "the hub ended the session: " + e.reason }

type stream = grpc.BidiStreamingClient[agentv1.ConnectRequest, agentv1.ConnectResponse]

// session opens one session and serves it until it ends. welcomed tells whether the hub accepted this agent.
func (l *Link) session(ctx context.Context) (welcomed bool, err error) {
	conn, err := l.Dial()
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(l.hello, func() {
		cancel(fault.New(fault.Timeout, "HUB_SILENT", "nothing was heard from the hub for too long"))
	})
	defer watchdog.Stop()
	st, err := agentv1.NewSessionServiceClient(conn).Connect(ctx)
	if err != nil {
		return false, ended(ctx, err)
	}
	if err := st.Send(&agentv1.ConnectRequest{Body: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{
		ProtocolMin: Protocol, ProtocolMax: Protocol, AgentVersion: l.Version, InstanceId: l.Instance, Stores: l.Replicas.Stores(),
	}}}); err != nil {
		_, err = st.Recv() // Send says only that the stream has ended; Recv says why
		return false, ended(ctx, err)
	}
	first, err := st.Recv()
	if err != nil {
		return false, ended(ctx, err)
	}
	w := first.GetWelcome()
	if w == nil || w.Protocol != Protocol || w.HeartbeatInterval.AsDuration() <= 0 {
		return false, fault.New(fault.Precondition, "PROTOCOL_MISMATCH", "the hub answers with a protocol this agent does not speak; upgrade the agent")
	}
	l.Log.Info("connected to the hub", "hub_version", w.HubVersion, "epoch", first.SessionEpoch, "central", w.Central)
	for _, r := range w.RefusedStores {
		l.Log.Error("the hub refuses a store", "store", r.StoreId, "message", r.Message)
	}
	l.setState(nil)
	beat := w.HeartbeatInterval.AsDuration()
	watchdog.Reset(silences * beat)
	written := make(chan struct{})
	go func() {
		defer close(written)
		err := l.write(ctx, st, first.SessionEpoch, beat)
		if err != nil && !errors.Is(err, io.EOF) { // EOF: the stream has ended, and the reader learns why
			cancel(err)
		}
	}()
	err = l.read(st, first.SessionEpoch, func() { watchdog.Reset(silences * beat) })
	err = ended(ctx, err)
	cancel(err) // frees a writer that waits for the hub to read
	<-written
	return true, err
}

// ended returns the better explanation for the end of a stream: what cancelled it here, else what the hub said.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// read hands desired state on until the stream ends. It never sends, so it never waits for the hub to read.
func (l *Link) read(st stream, epoch uint64, alive func()) error {
	for {
		msg, err := st.Recv()
		if err != nil {
			return fmt.Errorf("session ended: %w", err)
		}
		alive()
		if msg.SessionEpoch != epoch {
			continue
		}
		switch body := msg.Body.(type) {
		case *agentv1.ConnectResponse_Desired:
			l.Replicas.Apply(body.Desired)
		case *agentv1.ConnectResponse_Goodbye:
			return &goodbyeError{reason: body.Goodbye.Reason, after: body.Goodbye.ReconnectAfter.AsDuration()}
		}
	}
}

// write sends a snapshot, then what changes and is waited for, and a heartbeat when there was nothing else for one interval.
func (l *Link) write(ctx context.Context, st stream, epoch uint64, beat time.Duration) error {
	send := func(m *agentv1.ConnectRequest) error {
		m.SessionEpoch = epoch
		return st.Send(m)
	}
	if err := sendObserved(send, l.Replicas.Snapshot()); err != nil {
		return err
	}
	var awaited <-chan struct{}
	if l.Awaited != nil {
		awaited = l.Awaited.Changed()
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-l.Replicas.Changed():
			if o := l.Replicas.Take(); o != nil {
				err = sendObserved(send, o)
			}
		case <-awaited:
			if a := l.Awaited.Take(); a != nil {
				err = send(&agentv1.ConnectRequest{Body: &agentv1.ConnectRequest_Awaited{Awaited: a}})
			}
		case <-tick.C:
			err = send(&agentv1.ConnectRequest{Body: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{}}})
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
}

// sendObserved sends a report in messages of bounded size. The stores are in the first, which is sent even if it is empty.
func sendObserved(send func(*agentv1.ConnectRequest) error, o *agentv1.Observed) error {
	rest := o.Replicas
	for first := true; first || len(rest) > 0; first = false {
		n := fitting(rest)
		part := &agentv1.Observed{Snapshot: o.Snapshot && first, More: n < len(rest), Replicas: rest[:n]}
		if first {
			part.Stores = o.Stores
		}
		rest = rest[n:]
		if err := send(&agentv1.ConnectRequest{Body: &agentv1.ConnectRequest_Observed{Observed: part}}); err != nil {
			return err
		}
	}
	return nil
}

// fitting returns how many of the replicas go into one message: at least one if there is any.
func fitting(replicas []*agentv1.ObservedReplica) int {
	size := 0
	for i, r := range replicas {
		if size += proto.Size(r); size > maxReport && i > 0 {
			return i
		}
	}
	return len(replicas)
}
