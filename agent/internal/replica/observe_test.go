package replica

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// Take hands out many changes in bounded messages, each once.
func TestTakeIsBounded(t *testing.T) {
	m := idle(t)
	const n = maxTake + 7
	for range n {
		r := m.addLocked(key{Store: st0, Image: image.NewID()})
		r.state = isPresent
		m.dirtyLocked(r)
	}
	first := m.Take()
	if len(first.Replicas) != maxTake {
		t.Fatalf("first message has %d replicas", len(first.Replicas))
	}
	select {
	case <-m.Changed():
	default:
		t.Fatal("the rest is not announced")
	}
	if rest := m.Take(); len(rest.Replicas) != n-maxTake {
		t.Errorf("second message has %d replicas", len(rest.Replicas))
	}
	if again := m.Take(); again != nil {
		t.Errorf("reported twice: %v", again)
	}
	if s := m.Snapshot(); !s.Snapshot || len(s.Replicas) != n {
		t.Errorf("snapshot has %d replicas", len(s.Replicas))
	}
}

// The same outcome again is not a change.
func TestSettledIsNotReportedTwice(t *testing.T) {
	m := idle(t)
	m.Apply(&agentv1.Desired{Replicas: []*agentv1.DesiredReplica{goalOf(goalPresent, 1, conA)}})
	r := m.replicas[key{Store: st0, Image: img1}]
	j := job{replica: r, want: r.want, seq: r.seq}
	for i, want := range []bool{true, false} {
		if !m.finish(j, outcome{state: isPresent}) {
			t.Fatal("not taken over")
		}
		if got := m.Take() != nil; got != want {
			t.Errorf("outcome %d reported: %v", i, got)
		}
	}
	j.seq--
	if m.finish(j, outcome{state: isFailed}) || m.Take() != nil {
		t.Error("the outcome of an older goal counts")
	}
}

func TestMetrics(t *testing.T) {
	hub := newFakeHub(t)
	c := hub.add(conA, pattern(60, "dzp"))
	c.damage[0] = 1
	s := newSite(t, hub)
	s.registry = prometheus.NewRegistry()
	s.begin()
	s.delta(goalOf(goalPresent, 1, conA))
	s.await(isPresent, 1)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"atoll_agent_written_bytes_total " + st0:                     float64(c.man.DataBytes()),
		"atoll_agent_corrupt_chunks_total " + st0 + " " + whereFrame: 1,
		"atoll_agent_fills_total published " + st0:                   1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v; all: %v", name, got[name], want, got)
		}
	}
}
