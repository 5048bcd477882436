package importer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func jobNamed(name string) job { return job{op: &storev1.Operation{Id: name}} }

// order takes all that waits.
func order(t *testing.T, q *queue) string {
	t.Helper()
	var out []string
	for {
		j, ok := q.next()
		if !ok {
			return strings.Join(out, " ")
		}
		out = append(out, j.op.Id)
	}
}

// A project with many imports in the queue delays the first one of another by one fetch, and each further one by one more.
func TestProjectsTakeTurns(t *testing.T) {
	t.Parallel()
	q := newQueue(1000)
	for i := range 900 {
		if !q.reserve("big") {
			t.Fatalf("import %d has no place", i)
		}
		q.put("big", jobNamed(fmt.Sprint("b", i)))
	}
	if q.reserve("big") {
		t.Error("one project may fill the queue")
	}
	for i := range 3 {
		if !q.reserve("small") {
			t.Fatal("another project has no place")
		}
		q.put("small", jobNamed(fmt.Sprint("s", i)))
	}
	q.restore("third", jobNamed("t"))
	if got := order(t, q); !strings.HasPrefix(got, "b0 s0 t b1 s1 b2 s2 b3 b4 ") || !strings.HasSuffix(got, "b898 b899") {
		t.Errorf("order %.100s...", got)
	}
	if q.places != 0 || len(q.held) != 0 || len(q.waiting) != 0 || len(q.turns) != 0 {
		t.Errorf("left: %d places, %v, %d, %v", q.places, q.held, len(q.waiting), q.turns)
	}
}

func TestPlacesAreBounded(t *testing.T) {
	t.Parallel()
	q := newQueue(3)
	for project, want := range map[string]bool{"a": true, "b": true, "c": true} {
		if q.reserve(project) != want {
			t.Errorf("%s: want %v", project, want)
		}
	}
	if q.reserve("d") {
		t.Error("more than three have a place")
	}
	q.release("a")
	if !q.reserve("d") {
		t.Error("the place that was given back cannot be had")
	}
	q.restore("e", jobNamed("old")) // was accepted before, so it is not lost
	if q.reserve("a") {
		t.Error("a place beyond the limit")
	}
	if got := order(t, q); got != "old" {
		t.Errorf("got %q", got)
	}
	if one := newQueue(1); !one.reserve("a") || one.reserve("b") {
		t.Error("a queue of one")
	}
}

// Several take at once, and each import goes to one of them; whoever waits when ctx ends gets nothing.
func TestQueueIsShared(t *testing.T) {
	t.Parallel()
	q := newQueue(100)
	ctx, cancel := context.WithCancel(t.Context())
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		got []string
		all = make(chan struct{})
	)
	for range 4 {
		wg.Go(func() {
			for {
				j, ok := q.take(ctx)
				if !ok {
					return
				}
				mu.Lock()
				if got = append(got, j.op.Id); len(got) == 50 {
					close(all)
				}
				mu.Unlock()
			}
		})
	}
	for i := range 50 {
		project := strconv.Itoa(i % 7)
		if !q.reserve(project) {
			t.Fatal("no place")
		}
		q.put(project, jobNamed(strconv.Itoa(i)))
	}
	<-all
	cancel()
	wg.Wait()
	slices.Sort(got)
	if len(slices.Compact(got)) != 50 {
		t.Errorf("got %v", got)
	}
	q.restore("a", jobNamed("late"))
	if _, ok := q.take(ctx); ok {
		t.Error("taken after the end")
	}
}
