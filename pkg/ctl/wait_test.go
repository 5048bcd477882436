package ctl

import (
	"context"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
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
		h.Await(t, "the watch", func() bool { return h.Called["WatchOperation"] > 0 })
		cancel()
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

func TestTimeoutLeavesTheOperation(t *testing.T) {
	h := furnish(t)
	h.Script(clienttest.Step{Gate: make(chan struct{}), Do: clienttest.Succeed})
	r := atollctl(t, h, exitTimeout, "image", "delete", "debian-12", "--timeout", "300ms")
	has(t, r.err.String(), "the time is up; operation "+copyID+" goes on", "operation wait "+copyID)
	if strings.Contains(r.err.String(), "cancel") {
		t.Error("a delete cannot be cancelled")
	}
	r = atollctl(t, h, exitTimeout, "--hub", h.Addr+"", "operation", "wait", copyID, "--timeout", "300ms")
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
	done := make(chan int)
	go func() { done <- r.do(t.Context(), h.Addr, "image", "copy", "debian-12", "--stores", "dcn0") }()
	h.Await(t, "the third watch", func() bool { return h.Called["WatchOperation"] >= 3 })
	h.Cut()
	close(gate)
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d: %s", code, &r.err)
	}
	has(t, r.err.String(), "the hub does not answer, trying again", "dcn0: active")
}
