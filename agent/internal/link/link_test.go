package link

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// What clients wait for goes to the hub, and nothing when there is nothing after all.
func TestAwaited(t *testing.T) {
	h := startHub(t, "")
	up := make(chan *agentv1.Awaited, 10)
	h.scripts <- func(s hubStream) error {
		if _, err := welcome(s, 7, time.Minute); err != nil {
			return err
		}
		for {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			if m.GetAwaited() != nil && m.GetSessionEpoch() == 7 {
				up <- m.GetAwaited()
			}
		}
	}
	w := &waiting{changed: make(chan struct{}, 2)}
	w.say(nil)
	startAgent(t, h.addr, func(a *agent) { a.Awaited = w })
	for _, id := range []string{"i1", "i2"} {
		w.say(&agentv1.Awaited{Replicas: []*agentv1.ReplicaKey{{ImageId: id}}})
		if m := receive(t, up, "what is waited for"); len(m.GetReplicas()) != 1 || m.GetReplicas()[0].GetImageId() != id {
			t.Errorf("the hub hears %v, want %s", m, id)
		}
	}
}

// TestSession: a machine that stands still for longer than the watchdog waits ends a session; then the next one counts.
func TestSession(t *testing.T) {
	h := startHub(t, "")
	const beat = 500 * time.Millisecond // a busy machine may be late by two of them
	type message struct {
		*agentv1.ConnectRequest
		session int
	}
	hello := make(chan *agentv1.Hello, cap(h.scripts))
	up := make(chan message, 100)
	for session := range cap(h.scripts) {
		h.scripts <- func(s hubStream) error {
			m, err := welcome(s, 7, beat)
			if err != nil {
				return err
			}
			hello <- m
			for _, epoch := range []uint64{6, 7, 8} { // only 7 is of this session
				if err := s.Send(desired(epoch, epoch)); err != nil {
					return err
				}
			}
			for {
				m, err := s.Recv()
				if err != nil {
					return err
				}
				select {
				case up <- message{m, session}:
				case <-s.Context().Done():
					return s.Context().Err()
				}
				if m.GetHeartbeat() == nil {
					continue
				}
				beat := &agentv1.ConnectResponse{SessionEpoch: 7, Body: &agentv1.ConnectResponse_Heartbeat{Heartbeat: &agentv1.Heartbeat{}}}
				if err := s.Send(beat); err != nil {
					return err
				}
			}
		}
	}
	a := startAgent(t, h.addr, func(a *agent) {
		if a.Healthy() == nil {
			t.Error("healthy before the first session")
		}
	})
	m := receive(t, hello, "hello")
	if m.GetProtocolMin() != 1 || m.GetProtocolMax() != 1 || m.GetAgentVersion() != "v-agent" || m.GetInstanceId() != "i-1" || len(m.GetStores()) != 1 {
		t.Errorf("hello %v", m)
	}
	session, beats, changes := -1, 0, 0
	for beats < 5 || changes == 0 { // five beats are more than the watchdog's three
		m := receive(t, up, "heartbeats and the change")
		switch {
		case m.session > session:
			session, beats, changes = m.session, 0, 0
			if o := m.GetObserved(); m.GetSessionEpoch() != 7 || !o.GetSnapshot() || o.GetMore() || len(o.GetStores()) != 1 {
				t.Errorf("first message %v", m)
			}
			a.site.change("i1")
		case m.session < session: // late, from a session that has ended
		case m.GetHeartbeat() != nil:
			beats++
		case m.GetObserved().GetReplicas()[0].GetImageId() == "i1" && !m.GetObserved().GetSnapshot():
			changes++
		}
	}
	late := time.After(patience)
	for a.Healthy() != nil {
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatalf("not healthy within a session: %v", a.Healthy())
		}
	}
	a.stop()
	n := len(a.site.applied)
	if n == 0 || n > a.dialled() {
		t.Errorf("%d messages applied in %d sessions", n, a.dialled())
	}
	for range n {
		if d := <-a.site.applied; d.GetRevision() != 7 {
			t.Errorf("applied %v", d)
		}
	}
}

// TestReconnect kills the hub in the middle of a session and starts another at the same address. That is a path, which nobody
// else takes meanwhile, as they may take a port.
func TestReconnect(t *testing.T) {
	dir, err := os.MkdirTemp("", "link") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	first := startHub(t, "unix:"+filepath.Join(dir, "s"))
	serve := func(got chan<- *agentv1.ConnectRequest) script {
		return func(s hubStream) error {
			if _, err := welcome(s, 1, time.Minute); err != nil {
				return err
			}
			m, err := s.Recv()
			if err != nil {
				return err
			}
			got <- m
			return hold(s)
		}
	}
	got := make(chan *agentv1.ConnectRequest, 10)
	first.scripts <- serve(got)
	a := startAgent(t, first.addr, nil)
	receive(t, got, "the snapshot")
	first.stop()
	receive(t, a.site.offline, "offline")
	if err := a.Healthy(); err == nil {
		t.Error("healthy without a hub")
	}
	second := startHub(t, first.addr)
	second.scripts <- serve(got)
	if m := receive(t, got, "the second snapshot"); !m.GetObserved().GetSnapshot() {
		t.Errorf("the second session began with %v", m)
	}
	if a.dialled() < 2 {
		t.Error("the sessions share a connection")
	}
}

// TestStalls checks that a hub that is there but dead is left: by silence after hello, by silence later, and even when it
// does not read while the agent has much to say.
func TestStalls(t *testing.T) {
	for name, c := range map[string]struct {
		hello    time.Duration
		replicas int
		script   script
	}{
		"no welcome": {200 * time.Millisecond, 0, hold},
		"silence": {patience, 0, func(s hubStream) error {
			if _, err := welcome(s, 1, 10*time.Millisecond); err != nil {
				return err
			}
			return hold(s)
		}},
		"does not read": {patience, 40000, func(s hubStream) error {
			if _, err := welcome(s, 1, 10*time.Millisecond); err != nil {
				return err
			}
			return hold(s)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHub(t, "")
			again := make(chan struct{})
			h.scripts <- c.script
			h.scripts <- func(s hubStream) error {
				close(again)
				return hold(s)
			}
			a := startAgent(t, h.addr, func(a *agent) {
				a.hello = c.hello
				a.site.all.Replicas = many(c.replicas)
			})
			receive(t, a.site.offline, "the end of the session")
			receive(t, again, "another session")
			a.stop()
			if !strings.Contains(a.log.String(), "nothing was heard from the hub") {
				t.Errorf("the log does not say why:\n%s", a.log)
			}
		})
	}
}

// TestRefused checks that a refusal is logged once, with the hub's words, and that the agent goes on trying.
func TestRefused(t *testing.T) {
	for _, refusal := range []*fault.Error{
		fault.New(fault.Unauthenticated, "CERT_EXPIRED", "the certificate expired at noon"),
		fault.New(fault.Denied, "CERT_REVOKED", "the certificate has been revoked"),
		fault.New(fault.Precondition, "PROTOCOL_MISMATCH", "upgrade the agent"),
	} {
		t.Run(refusal.Reason, func(t *testing.T) {
			h := startHub(t, "")
			for range 3 {
				h.scripts <- func(hubStream) error { return refusal }
			}
			accepted := make(chan struct{})
			h.scripts <- func(s hubStream) error {
				if _, err := welcome(s, 1, time.Minute); err != nil {
					return err
				}
				close(accepted)
				return hold(s)
			}
			a := startAgent(t, h.addr, nil)
			receive(t, accepted, "a session after the refusals")
			a.stop()
			out := a.log.String()
			if strings.Count(out, "the hub refuses this agent") != 1 || !strings.Contains(out, "[ERROR]") ||
				!strings.Contains(out, refusal.Reason) || !strings.Contains(out, refusal.Message) {
				t.Errorf("log:\n%s", out)
			}
		})
	}
}

func TestUnknownProtocol(t *testing.T) {
	h := startHub(t, "")
	h.scripts <- func(s hubStream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		w := &agentv1.Welcome{Protocol: 2, HeartbeatInterval: durationpb.New(time.Second)}
		if err := s.Send(&agentv1.ConnectResponse{SessionEpoch: 1, Body: &agentv1.ConnectResponse_Welcome{Welcome: w}}); err != nil {
			return err
		}
		return hold(s)
	}
	a := startAgent(t, h.addr, nil)
	receive(t, a.site.offline, "the end of the session")
	if err := a.Healthy(); fault.ReasonOf(err) != "PROTOCOL_MISMATCH" {
		t.Errorf("got %v", err)
	}
}

// TestGoodbye checks that the agent waits as long as the hub asks it to, and knows why the session ended.
func TestGoodbye(t *testing.T) {
	h := startHub(t, "")
	const after = 300 * time.Millisecond
	said := make(chan time.Time, 1)
	h.scripts <- func(s hubStream) error {
		if _, err := welcome(s, 1, time.Minute); err != nil {
			return err
		}
		bye := &agentv1.Goodbye{Reason: "the hub is stopping", ReconnectAfter: durationpb.New(after)}
		said <- time.Now()
		return s.Send(&agentv1.ConnectResponse{SessionEpoch: 1, Body: &agentv1.ConnectResponse_Goodbye{Goodbye: bye}})
	}
	again := make(chan time.Time, 1)
	h.scripts <- func(s hubStream) error {
		again <- time.Now()
		return hold(s)
	}
	a := startAgent(t, h.addr, nil)
	receive(t, a.site.offline, "the end of the session")
	if waited := receive(t, again, "another session").Sub(receive(t, said, "the goodbye")); waited < after*9/10 {
		t.Errorf("came back after %v, the hub asked for %v", waited, after)
	}
	if !strings.Contains(a.log.String(), "the hub is stopping") {
		t.Errorf("the log does not say why:\n%s", a.log)
	}
}

// TestReasonOfTheEnd checks that the hub's reason survives when the agent is sending as the hub ends the stream.
func TestReasonOfTheEnd(t *testing.T) {
	h := startHub(t, "")
	h.scripts <- func(s hubStream) error {
		if _, err := welcome(s, 1, time.Minute); err != nil {
			return err
		}
		for range 3 {
			if _, err := s.Recv(); err != nil {
				return err
			}
		}
		return fault.New(fault.Denied, "SITE_DELETED", "the site has been deleted")
	}
	a := startAgent(t, h.addr, nil)
	for ended := false; !ended; {
		a.site.change("i1")
		select {
		case <-a.site.offline:
			ended = true
		case <-time.After(100 * time.Microsecond):
		}
	}
	if err := a.Healthy(); fault.ReasonOf(err) != "SITE_DELETED" {
		t.Errorf("got %v", err)
	}
}

// TestSplit checks that a large report arrives whole, in messages of bounded size.
func TestSplit(t *testing.T) {
	for _, n := range []int{0, 1, 999, 30000} {
		in := &agentv1.Observed{Snapshot: true, Replicas: many(n), Stores: []*agentv1.StoreStatus{{StoreId: "s0"}}}
		var got []*agentv1.Observed
		err := sendObserved(func(m *agentv1.ConnectRequest) error {
			got = append(got, m.GetObserved())
			return nil
		}, in)
		if err != nil || len(got) == 0 {
			t.Fatalf("%d replicas: %d messages, %v", n, len(got), err)
		}
		next := 0
		for i, o := range got {
			if o.GetSnapshot() != (i == 0) || o.GetMore() != (i < len(got)-1) || len(o.GetStores()) != len(got[0].GetStores())*boolInt(i == 0) {
				t.Errorf("%d replicas: message %d has snapshot %v, more %v, %d stores", n, i, o.GetSnapshot(), o.GetMore(), len(o.GetStores()))
			}
			if size := proto.Size(o); size > 2*maxReport {
				t.Errorf("message %d has %d bytes", i, size)
			}
			for _, r := range o.GetReplicas() {
				if r.GetImageId() != in.GetReplicas()[next].GetImageId() {
					t.Fatalf("replica %d is %s", next, r.GetImageId())
				}
				next++
			}
		}
		if next != n {
			t.Errorf("%d of %d replicas arrived", next, n)
		}
		if n == 30000 && len(got) < 3 {
			t.Errorf("%d messages", len(got))
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// many returns n replicas of about 150 bytes each.
func many(n int) []*agentv1.ObservedReplica {
	var out []*agentv1.ObservedReplica
	for i := range n {
		out = append(out, &agentv1.ObservedReplica{
			ImageId: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), StoreId: "s0", ContentId: "2bd882e7-1da0-4078-97fe-f1bb81f61b00",
			Failure: &agentv1.Failure{Reason: "NO_SPACE", Message: strings.Repeat("x", 60)},
		})
	}
	return out
}
