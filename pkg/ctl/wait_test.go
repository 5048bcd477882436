package ctl

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

const copyID = "00000000-0000-4000-8000-000000000003" // the first operation that begins at a furnished hub

func TestCopy(t *testing.T) {
	h := furnish(t)
	r := atollctl(t, h, exitOK, "image", "copy", "debian-12", "--stores", "dcn0", "--stores", "dcn1")
	has(t, r.out.String(), "stores         central", "rbd://f-dcn0/", "rbd://f-dcn1/")
	r = atollctl(t, h, exitOK, "image", "copy", debian, "--all-stores", "--wait", "-o", "yaml")
	has(t, r.out.String(), "kind: OPERATION_KIND_COPY", "stores: []")
}

func TestInterruptLeavesTheOperation(t *testing.T) {
	h := furnish(t)
	h.Script(clienttest.Step{Gate: make(chan struct{}), Do: clienttest.Succeed})
	ctx, cancel := context.WithCancel(t.Context())
	h.Fail("WatchOperation", nil)
	go func() {
		defer cancel()
		h.Await(t, "the watch", func() bool { return h.Called["WatchOperation"] > 0 })
	}()
	r := &run{}
	if code := r.do(ctx, h.Addr, "image", "copy", "debian-12", "--stores", "dcn0"); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	has(t, r.err.String(), "atollctl: interrupted; operation "+copyID+" goes on\n",
		"  follow it: atollctl operation wait "+copyID, "  stop it:   atollctl operation cancel "+copyID)
	if op := h.Operations[copyID]; op.GetState() != hubv1.OperationState_OPERATION_STATE_RUNNING {
		t.Errorf("operation %v", op)
	}
}

// overdue is a context whose deadline has passed once over is closed.
type overdue struct {
	context.Context
	over chan struct{}
}

func (o overdue) Done() <-chan struct{} { return o.over }

func (o overdue) Err() error {
	select {
	case <-o.over:
		return context.DeadlineExceeded
	default:
		return o.Context.Err()
	}
}

// tooLong runs the program, whose time is up when the hub has been asked for a watch: no machine is too slow to get so far.
func tooLong(t *testing.T, h *clienttest.Hub, args ...string) *run {
	t.Helper()
	r := &run{within: func(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
		if d != 300*time.Millisecond {
			t.Errorf("the time is up after %s", d)
		}
		over, before := make(chan struct{}), 0
		h.Change(func() { before = h.Called["WatchOperation"] })
		go func() {
			defer close(over)
			h.Await(t, "the watch", func() bool { return h.Called["WatchOperation"] > before })
		}()
		return overdue{ctx, over}, func() { <-over }
	}}
	r.want(t, h, exitTimeout, append(args, "--timeout", "300ms")...)
	return r
}

func TestTimeoutLeavesTheOperation(t *testing.T) {
	h := furnish(t)
	h.Script(clienttest.Step{Gate: make(chan struct{}), Do: clienttest.Succeed})
	r := tooLong(t, h, "image", "delete", "debian-12")
	has(t, r.err.String(), "the time is up; operation "+copyID+" goes on", "operation wait "+copyID)
	if strings.Contains(r.err.String(), "cancel") {
		t.Error("a delete cannot be cancelled")
	}
	r = tooLong(t, h, "--hub", h.Addr+"", "operation", "wait", copyID)
	has(t, r.err.String(), "goes on")
}

func TestDelete(t *testing.T) {
	h := furnish(t)
	h.Script(clienttest.Step{Do: clienttest.FailAll(9, "IN_USE", "the copy in central is in use")})
	r := atollctl(t, h, exitConflict, "image", "delete", "debian-12")
	has(t, r.err.String(), "atollctl: the copy in central is in use [IN_USE]")
	if r.out.String() != "" || h.Images[debian] == nil {
		t.Errorf("standard output %q", &r.out)
	}
	h.Script(clienttest.Step{Do: func(op *hubv1.Operation) {
		op.Notes = []string{"dcn1 is offline and will delete its copy when it returns"}
		clienttest.Succeed(op)
	}})
	r = atollctl(t, h, exitOK, "image", "delete", "debian-12")
	has(t, r.out.String(), "image "+debian+" deleted")
	has(t, r.err.String(), "note: dcn1 is offline")
	atollctl(t, h, exitNotFound, "image", "delete", debian)
}

func TestReplicaVerbs(t *testing.T) {
	h := furnish(t)
	has(t, atollctl(t, h, exitOK, "replica", "verify", "debian-12", "central").out.String(), "proven           2026-08-31")
	has(t, atollctl(t, h, exitOK, "replica", "retry", "debian-12", "dcn1").out.String(), "store            dcn1")
	h.Script(clienttest.Step{Do: clienttest.FailAll(15, "DATA_LOSS", "the copy differs from the manifest")})
	has(t, atollctl(t, h, exitFailed, "replica", "verify", debian, "central").err.String(), "[DATA_LOSS]")
	h.Script()
	has(t, atollctl(t, h, exitOK, "replica", "delete", "debian-12", "dcn1").out.String(), "copy of image "+debian+" in dcn1 deleted")
	has(t, atollctl(t, h, exitOK, "replica", "delete", "debian-12", "dcn0", "--wait=false", "-o", "json").out.String(), "OPERATION_STATE_RUNNING")
}

func TestCancel(t *testing.T) {
	h := furnish(t)
	h.Script(clienttest.Step{Gate: make(chan struct{}), Do: clienttest.Succeed})
	atollctl(t, h, exitOK, "image", "copy", "debian-12", "--stores", "dcn0", "--wait=false")
	r := atollctl(t, h, exitOK, "operation", "cancel", copyID)
	has(t, r.out.String(), "operation "+copyID+" cancelled")
	has(t, atollctl(t, h, exitFailed, "operation", "wait", copyID).err.String(), "was cancelled")
	atollctl(t, h, exitConflict, "operation", "cancel", copyID)
}

// TestWaitSurvivesARestart breaks the hub while an operation is followed.
func TestWaitSurvivesARestart(t *testing.T) {
	h := furnish(t)
	gate := make(chan struct{})
	h.Script(clienttest.Step{Do: func(*hubv1.Operation) {}}, clienttest.Step{Gate: gate, Do: clienttest.Succeed})
	h.Fail("WatchOperation", fault.New(fault.Unavailable, "STOPPING", "the hub is stopping"))
	h.Fail("WatchOperation", fault.New(fault.Unavailable, "STARTING", "the hub is starting"))
	r := &run{}
	done := make(chan int, 1)
	go func() { done <- r.do(t.Context(), h.Addr, "image", "copy", "debian-12", "--stores", "dcn0") }()
	h.Await(t, "the third watch", func() bool { return h.Called["WatchOperation"] >= 3 })
	h.Down(true) // until it is told: what is shown now and then may miss a hub that is back at once
	waiting, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for !strings.Contains(r.err.String(), "the hub does not answer") && retry.Sleep(waiting, 10*time.Millisecond) == nil {
	}
	h.Down(false)
	close(gate)
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d: %s", code, &r.err)
	}
	has(t, r.err.String(), "the hub does not answer, trying again", "dcn0: active")
}
