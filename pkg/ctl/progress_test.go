package ctl

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// screen is a terminal that understands what progress writes, and fails the test for anything else.
type screen struct {
	t          *testing.T
	cols, rows int
	lines      []string
	row        int
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		switch {
		case text[0] == '\r':
			text = text[1:]
		case text[0] == '\n':
			s.row++
			text = text[1:]
		case strings.HasPrefix(text, "\x1b[K"):
			text = text[3:]
		case strings.HasPrefix(text, "\x1b[J"):
			s.lines = s.lines[:min(s.row, len(s.lines))]
			text = text[3:]
		case strings.HasPrefix(text, "\x1b["):
			var n int
			if _, err := fmt.Sscanf(text, "\x1b[%dA", &n); err != nil {
				s.t.Fatalf("unknown sequence %q", text)
			}
			if s.row -= n; s.row < 0 || n >= s.rows {
				s.t.Fatalf("cursor moves %d lines up on a screen of %d", n, s.rows)
			}
			text = text[strings.IndexByte(text, 'A')+1:]
		default:
			end := strings.IndexAny(text, "\r\n\x1b")
			if end < 0 {
				end = len(text)
			}
			for len(s.lines) <= s.row {
				s.lines = append(s.lines, "")
			}
			if s.lines[s.row] = text[:end]; len([]rune(text[:end])) >= s.cols {
				s.t.Errorf("line reaches the last column: %q", text[:end])
			}
			text = text[end:]
		}
	}
	return len(p), nil
}

func (s *screen) String() string { return strings.Join(s.lines, "\n") + "\n" }

// still returns a progress that draws only when told to, and its clock.
func still(s *screen, terminal bool) (*progress, *time.Time) {
	now := clienttest.Now()
	return &progress{
		w: s, now: func() time.Time { return now }, told: map[string]string{}, summaryAt: now.Add(plainEvery),
		size: func() (int, int, bool) { return s.cols, s.rows, terminal },
	}, &now
}

func moving(done, rate int64) *hubv1.Replica {
	r := &hubv1.Replica{
		SiteId: "dcn0", Phase: hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING,
		Progress: &hubv1.Progress{BytesDone: done, BytesTotal: 1 << 30, BytesPerSecond: rate},
	}
	if rate > 0 {
		r.Progress.TimeLeft = durationpb.New(time.Duration((1<<30-done)/rate) * time.Second)
	}
	return r
}

func running(stores ...*hubv1.StoreResult) *hubv1.Operation {
	for _, s := range stores {
		if s.GetState() == 0 {
			s.State = hubv1.OperationState_OPERATION_STATE_RUNNING
		}
	}
	return &hubv1.Operation{
		Kind: hubv1.OperationKind_OPERATION_KIND_IMPORT, State: hubv1.OperationState_OPERATION_STATE_RUNNING, Stores: stores,
	}
}

// everything is an operation with a store in each state.
func everything() *hubv1.Operation {
	waiting := moving(256<<20, 1)
	waiting.WaitingSince = clienttest.Ago(200 * time.Second)
	op := running(
		&hubv1.StoreResult{StoreId: "central", State: hubv1.OperationState_OPERATION_STATE_SUCCEEDED, Replica: &hubv1.Replica{
			Progress: &hubv1.Progress{BytesResumed: 300 << 20, ChunksRepaired: 2},
		}},
		&hubv1.StoreResult{StoreId: "dcn0", Replica: moving(512<<20, 64<<20)},
		&hubv1.StoreResult{StoreId: "dcn1", Replica: waiting},
		&hubv1.StoreResult{StoreId: "dcn2", State: hubv1.OperationState_OPERATION_STATE_FAILED, Error: &hubv1.OperationError{
			Reason: "NO_SPACE", Message: "the pool\x1b[2J is full",
		}},
		&hubv1.StoreResult{StoreId: "dcn3", Replica: &hubv1.Replica{
			Phase: hubv1.ReplicaPhase_REPLICA_PHASE_PENDING, Reason: "UNREACHABLE", Message: "the cluster does not answer", Attempts: 2,
			NextAttemptTime: timestamppb.New(clienttest.Now().Add(8 * time.Second)),
		}},
		&hubv1.StoreResult{StoreId: "dcn4"},
		&hubv1.StoreResult{StoreId: "dcn5", Replica: &hubv1.Replica{
			Phase: hubv1.ReplicaPhase_REPLICA_PHASE_VERIFYING, Progress: &hubv1.Progress{BytesDone: 1 << 30, BytesTotal: 1 << 30, BytesPerSecond: 9 << 30},
		}},
		&hubv1.StoreResult{StoreId: "dcn6", State: hubv1.OperationState_OPERATION_STATE_CANCELLED},
		&hubv1.StoreResult{StoreId: "dcn7", Replica: &hubv1.Replica{
			Phase: hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING, Progress: &hubv1.Progress{BytesDone: 5 << 20},
		}},
	)
	op.SourceBytesDone, op.SourceBytesTotal = 768<<20, 1<<30
	return op
}

func TestProgressOnATerminal(t *testing.T) {
	for _, cols := range []int{120, 80, 60, 40, 20, 3} {
		s := &screen{t: t, cols: cols, rows: 24}
		p, now := still(s, true)
		op := everything()
		op.SourceBytesDone = 256 << 20
		p.update(op)
		p.tick(false)
		*now = now.Add(4 * time.Second)
		p.update(everything())
		p.lost(nil)
		p.tick(false)
		golden(t, fmt.Sprintf("progress_%d.txt", cols), s.String())
	}
}

func TestProgressRedrawsInPlace(t *testing.T) {
	s := &screen{t: t, cols: 100, rows: 24}
	p, now := still(s, true)
	p.bytes("source", "sending", 0, 1<<30)
	p.tick(false)
	has(t, s.String(), "source", "0%", "sending")
	*now = now.Add(time.Second)
	p.bytes("source", "sending", 100<<20, 1<<30)
	p.update(running(&hubv1.StoreResult{StoreId: "central", Replica: moving(1<<20, 0)}))
	p.tick(false)
	has(t, s.String(), "100 MiB / 1.0 GiB", "100 MiB/s", "9s left", "central")
	if n := strings.Count(s.String(), "source"); n != 1 || len(s.lines) != 2 {
		t.Errorf("screen:\n%s", s)
	}
	before := s.String()
	p.tick(false)
	if s.String() != before {
		t.Error("redrawn without a reason")
	}
	end := running(&hubv1.StoreResult{StoreId: "central", State: hubv1.OperationState_OPERATION_STATE_SUCCEEDED})
	end.State = hubv1.OperationState_OPERATION_STATE_SUCCEEDED
	p.uploaded()
	p.update(end)
	p.tick(true)
	if s.String() != "central  active\n" {
		t.Errorf("final screen:\n%s", s)
	}
	if s.row != 1 {
		t.Errorf("the cursor is in line %d", s.row)
	}
}

func TestProgressFitsALowTerminal(t *testing.T) {
	s := &screen{t: t, cols: 80, rows: 6}
	p, now := still(s, true)
	p.update(everything())
	p.tick(false)
	want := []string{"source", "dcn0", "dcn5", "and 7 more"}
	if len(s.lines) != 4 {
		t.Fatalf("screen:\n%s", s)
	}
	for i, w := range want {
		if !strings.HasPrefix(s.lines[i], w) {
			t.Errorf("line %d is %q, want %s", i, s.lines[i], w)
		}
	}
	*now = now.Add(time.Second)
	p.tick(true)
	if len(s.lines) != 10 {
		t.Errorf("the final picture does not show all:\n%s", s)
	}
}

func TestProgressWithoutATerminal(t *testing.T) {
	var out strings.Builder
	s := &screen{t: t}
	p, now := still(s, false)
	p.w = &out
	step := func(d time.Duration, op *hubv1.Operation, want string) {
		t.Helper()
		out.Reset()
		*now = now.Add(d)
		p.update(op)
		p.tick(false)
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	}
	store := func(r *hubv1.Replica) *hubv1.Operation {
		return running(&hubv1.StoreResult{StoreId: "dcn0", Replica: r})
	}
	step(0, store(nil), "dcn0: pending\n")
	step(time.Second, store(moving(0, 0)), "dcn0: transferring (0%, 0 B of 1.0 GiB)\n")
	step(time.Second, store(moving(256<<20, 256<<20)), "")
	step(3*time.Second, store(moving(512<<20, 256<<20)), "dcn0: transferring (50%, 512 MiB of 1.0 GiB, 256 MiB/s, 2s left)\n")
	step(time.Second, store(moving(600<<20, 256<<20)), "")
	offline := moving(600<<20, 0)
	offline.WaitingSince = timestamppb.New(*now)
	step(2*time.Second, store(offline), "dcn0: waiting for site dcn0 for 2s (58%, 600 MiB of 1.0 GiB)\n")
	step(2*time.Second, store(offline), "dcn0: waiting for site dcn0 for 4s (58%, 600 MiB of 1.0 GiB)\n")
	step(time.Second, store(offline), "")
	out.Reset()
	p.lost(nil)
	p.tick(false)
	p.tick(false)
	if got := out.String(); got != "the hub does not answer, trying again; what has been started goes on\n" {
		t.Errorf("got %q", got)
	}
	end := running(&hubv1.StoreResult{StoreId: "dcn0", State: hubv1.OperationState_OPERATION_STATE_SUCCEEDED})
	step(time.Second, end, "dcn0: active\n")
	step(time.Minute, end, "")
}

func TestMeter(t *testing.T) {
	var m meter
	at := clienttest.Now()
	if m.rate() != 0 {
		t.Error("a rate of nothing")
	}
	for i := range 60 {
		m.add(at.Add(time.Duration(i)*time.Second/5), int64(i)*1000)
		if i == 1 && m.rate() != 0 {
			t.Error("a rate too early")
		}
	}
	if m.rate() != 5000 {
		t.Errorf("rate %d, want 5000", m.rate())
	}
	if n := len(m.samples); n > 40 {
		t.Errorf("%d samples are kept", n)
	}
	for i := range 40 { // it stalls
		m.add(at.Add(12*time.Second+time.Duration(i)*time.Second/5), 59_000)
	}
	if m.rate() != 0 {
		t.Errorf("stalled at %d", m.rate())
	}
}

// A disk that is made of what comes in has a row of its own.
func TestProgressOfConversion(t *testing.T) {
	s := &screen{t: t, cols: 100, rows: 24}
	p, now := still(s, true)
	op := running(&hubv1.StoreResult{StoreId: "central", Replica: moving(1<<20, 0)})
	op.SourceBytesDone, op.SourceBytesTotal = 100<<20, 200<<20
	op.DiskBytesDone, op.DiskBytesTotal = 1<<30, 4<<30
	p.update(op)
	p.tick(false)
	*now = now.Add(time.Second)
	has(t, s.String(), "source", "50%", "disk", "25%", "converting", "central")
}

func TestConversionOfOperation(t *testing.T) {
	l := &lines{}
	addImport(l, &hubv1.Operation{
		SourceBytesDone: 1 << 30, SourceBytesTotal: 4 << 30, SourceBytesPerSecond: 90 << 20, DiskBytesDone: 1 << 30, DiskBytesTotal: 2 << 30,
		ImportPhase: hubv1.ImportPhase_IMPORT_PHASE_CONVERTING_WHILE_RECEIVING,
	})
	got := fmt.Sprint(l.rows)
	has(t, got, "1.0 GiB of 4.0 GiB (25%), 90 MiB/s", "converting-while-receiving", "1.0 GiB of 2.0 GiB (50%)")
}
