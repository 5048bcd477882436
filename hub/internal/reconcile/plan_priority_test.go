package reconcile

import (
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// A copy has the priority of the request that made it, is raised by one that joins with more, never lowered, and does not
// begin anew for that.
func TestPlanPriority(t *testing.T) {
	t.Parallel()
	const (
		unsaid = storev1.Priority_PRIORITY_UNSPECIFIED
		low    = storev1.Priority_PRIORITY_LOW
		normal = storev1.Priority_PRIORITY_NORMAL
		high   = storev1.Priority_PRIORITY_HIGH
	)
	b := newBoard(t, central)
	ask := func(p, want storev1.Priority) {
		t.Helper()
		b.start(storev1.OperationKind_OPERATION_KIND_COPY, "dcn0").Priority = p
		b.plan()
		if got := b.replica("dcn0").Priority; got != want {
			t.Fatalf("asked with %v: %v, want %v", p, got, want)
		}
		if d := Desired(b.a.Image, b.replica("dcn0")); d.Priority != agentv1.Priority(want) {
			t.Fatalf("the site is told %v", d.Priority)
		}
	}
	ask(low, low)
	b.say("dcn0", siteFilling)
	before := b.replica("dcn0").Generation
	ask(unsaid, unsaid)
	ask(low, unsaid)
	ask(normal, unsaid)
	ask(high, high)
	ask(normal, high)
	if got := b.replica("dcn0").Generation; got != before {
		t.Fatalf("generation %d, was %d", got, before)
	}
	b.wantPhase("dcn0", phaseTransferring, "")
	b.replica("dcn0").AwaitedTime = catalog.Stamp(b.w.Now)
	b.say("dcn0", sitePresent)
	if d := Desired(b.a.Image, b.replica("dcn0")); d.Priority != 0 || b.replica("dcn0").AwaitedTime != nil {
		t.Fatalf("a complete copy has priority %v", d.Priority)
	}
}
