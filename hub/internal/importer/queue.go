package importer

import (
	"context"
	"slices"
	"sync"
)

// queue holds the imports that wait for their turn. Projects take turns, so that one which has many waiting delays nobody else's
// next one; those of one project go in the order they came. Its methods may be called at the same time.
type queue struct {
	most  int           // imports that may wait
	share int           // of them, those of one project
	ready chan struct{} // has something when somebody may find an import waiting

	mu      sync.Mutex
	places  int              // taken: by what waits, and by what is going to
	held    map[string]int   // of them, by project; none is 0
	waiting map[string][]job // by project; none is empty
	turns   []string         // projects with imports that wait, the next one first
}

// newQueue returns a queue in which most imports may wait. One project leaves a tenth of it to others.
func newQueue(most int) *queue {
	return &queue{
		most: most, share: most - most/10, ready: make(chan struct{}, 1), held: map[string]int{}, waiting: map[string][]job{},
	}
}

// reserve takes a place for an import of a project; it reports whether there was one. Either put or release follows.
func (q *queue) reserve(project string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.places >= q.most || q.held[project] >= q.share {
		return false
	}
	q.occupy(project)
	return true
}

// release gives a place back that was not needed.
func (q *queue) release(project string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.vacate(project)
}

// put adds an import in the place that was taken for it.
func (q *queue) put(project string, j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(project, j)
}

// restore adds an import that an earlier life of the hub has accepted, whether or not there is a place.
func (q *queue) restore(project string, j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.occupy(project)
	q.add(project, j)
}

// take waits for the next import until ctx ends; then ok is false. Its place is free.
func (q *queue) take(ctx context.Context) (j job, ok bool) {
	for ctx.Err() == nil {
		if j, ok := q.next(); ok {
			return j, true
		}
		select {
		case <-ctx.Done():
		case <-q.ready:
		}
	}
	return job{}, false
}

func (q *queue) next() (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		return job{}, false
	}
	project := q.turns[0]
	q.turns = slices.Delete(q.turns, 0, 1)
	j := q.waiting[project][0]
	if rest := slices.Delete(q.waiting[project], 0, 1); len(rest) > 0 {
		q.waiting[project] = rest
		q.turns = append(q.turns, project)
	} else {
		delete(q.waiting, project)
	}
	q.vacate(project)
	q.tell()
	return j, true
}

func (q *queue) add(project string, j job) {
	if len(q.waiting[project]) == 0 {
		q.turns = append(q.turns, project)
	}
	q.waiting[project] = append(q.waiting[project], j)
	q.tell()
}

// tell wakes one of those who wait, if there is something for it; that one wakes the next.
func (q *queue) tell() {
	if len(q.turns) == 0 {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *queue) occupy(project string) {
	q.places++
	q.held[project]++
}

func (q *queue) vacate(project string) {
	q.places--
	if q.held[project]--; q.held[project] == 0 {
		delete(q.held, project)
	}
}
