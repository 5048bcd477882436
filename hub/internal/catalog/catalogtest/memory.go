// Package catalogtest has an in-memory store of records for tests, and the conformance suite that it and the real store
// pass.
package catalogtest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Memory is a catalog.Records without a store. Its zero value is empty and ready.
type Memory struct {
	mu     sync.Mutex
	rev    int64
	values map[catalog.Key]record
	subs   map[*subscription]struct{}
	faults []error
}

type record struct {
	value proto.Message
	rev   int64
}

var _ catalog.Records = (*Memory)(nil)

// Fail makes the next Commit return err without doing anything; several calls queue up.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, err)
}

// Revision returns the number of commits that have changed something.
func (m *Memory) Revision() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rev
}

// Commit implements catalog.Records.
func (m *Memory) Commit(_ context.Context, writes ...catalog.Write) error {
	if len(writes) > catalog.MaxWrites {
		return fault.New(fault.Internal, "TOO_MANY_WRITES", "%d writes in one commit", len(writes))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.faults) > 0 {
		err := m.faults[0]
		m.faults = m.faults[1:]
		return err
	}
	for _, w := range writes {
		if m.values[w.Key].rev != w.Revision {
			return fault.New(fault.Conflict, "CHANGED", "a record has changed since it was read")
		}
	}
	m.rev++
	if m.values == nil {
		m.values = map[catalog.Key]record{}
	}
	for _, w := range writes {
		if w.Value == nil {
			delete(m.values, w.Key)
		} else {
			m.values[w.Key] = record{proto.Clone(w.Value), m.rev}
		}
		for s := range m.subs {
			s.add(w.Key)
		}
	}
	return nil
}

func get[T proto.Message](m *Memory, k catalog.Key) (T, int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.values[k]
	v, _ := r.value.(T)
	return v, r.rev
}

// Image implements catalog.Reader.
func (m *Memory) Image(id image.ID) (*storev1.Image, int64) {
	return get[*storev1.Image](m, catalog.ImageKey(id))
}

// Replica implements catalog.Reader.
func (m *Memory) Replica(id image.ID, store image.StoreID) (*storev1.Replica, int64) {
	return get[*storev1.Replica](m, catalog.ReplicaKey(id, store))
}

// Operation implements catalog.Reader.
func (m *Memory) Operation(id image.ID) (*storev1.Operation, int64) {
	return get[*storev1.Operation](m, catalog.OperationKey(id))
}

// Site implements catalog.Reader.
func (m *Memory) Site(id image.SiteID) (*storev1.Site, int64) {
	return get[*storev1.Site](m, catalog.SiteKey(id))
}

// Store implements catalog.Reader.
func (m *Memory) Store(id image.StoreID) (*storev1.Store, int64) {
	return get[*storev1.Store](m, catalog.StoreKey(id))
}

// all returns the records that keep accepts, in the order of less, with their revisions.
func all[T proto.Message](m *Memory, keep func(T) bool, order func(a, b T) int) ([]T, []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type item struct {
		v   T
		rev int64
	}
	var items []item
	for _, r := range m.values {
		if v, ok := r.value.(T); ok && keep(v) {
			items = append(items, item{v, r.rev})
		}
	}
	slices.SortFunc(items, func(a, b item) int { return order(a.v, b.v) })
	vs, revs := make([]T, len(items)), make([]int64, len(items))
	for i, it := range items {
		vs[i], revs[i] = it.v, it.rev
	}
	return vs, revs
}

// Images implements catalog.Lists.
func (m *Memory) Images() []*storev1.Image {
	out, _ := all(m, func(*storev1.Image) bool { return true }, func(a, b *storev1.Image) int {
		return cmp.Or(b.CreateTime.AsTime().Compare(a.CreateTime.AsTime()), cmp.Compare(b.Id, a.Id))
	})
	return out
}

// Replicas implements catalog.Lists.
func (m *Memory) Replicas(id image.ID) ([]*storev1.Replica, []int64) {
	return all(m, func(r *storev1.Replica) bool { return r.ImageId == string(id) },
		func(a, b *storev1.Replica) int { return cmp.Compare(a.StoreId, b.StoreId) })
}

// StoreReplicas implements catalog.Lists.
func (m *Memory) StoreReplicas(store image.StoreID) []*storev1.Replica {
	out, _ := all(m, func(r *storev1.Replica) bool { return r.StoreId == string(store) },
		func(a, b *storev1.Replica) int { return cmp.Compare(a.ImageId, b.ImageId) })
	return out
}

// Operations implements catalog.Lists.
func (m *Memory) Operations() []*storev1.Operation {
	out, _ := all(m, func(*storev1.Operation) bool { return true }, func(a, b *storev1.Operation) int { return -older(a, b) })
	return out
}

// ImageOperations implements catalog.Lists.
func (m *Memory) ImageOperations(id image.ID) ([]*storev1.Operation, []int64) {
	return all(m, func(o *storev1.Operation) bool {
		return o.ImageId == string(id) && o.State == storev1.OperationState_OPERATION_STATE_RUNNING
	}, older)
}

func older(a, b *storev1.Operation) int {
	return cmp.Or(a.CreateTime.AsTime().Compare(b.CreateTime.AsTime()), cmp.Compare(a.Id, b.Id))
}

// Sites implements catalog.Lists.
func (m *Memory) Sites() []*storev1.Site {
	out, _ := all(m, func(*storev1.Site) bool { return true }, func(a, b *storev1.Site) int { return cmp.Compare(a.Id, b.Id) })
	return out
}

// Stores implements catalog.Lists.
func (m *Memory) Stores() []*storev1.Store {
	out, _ := all(m, func(*storev1.Store) bool { return true }, func(a, b *storev1.Store) int { return cmp.Compare(a.Id, b.Id) })
	return out
}

// Subscribe implements catalog.Records.
func (m *Memory) Subscribe() catalog.Subscription {
	s := &subscription{owner: m, ready: make(chan struct{}, 1), keys: map[catalog.Key]struct{}{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.subs == nil {
		m.subs = map[*subscription]struct{}{}
	}
	m.subs[s] = struct{}{}
	return s
}

type subscription struct {
	owner *Memory
	ready chan struct{}
	keys  map[catalog.Key]struct{} // guarded by owner.mu
}

// add notes a change. Lock held.
func (s *subscription) add(k catalog.Key) {
	s.keys[k] = struct{}{}
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *subscription) C() <-chan struct{} { return s.ready }

func (s *subscription) Take() ([]catalog.Key, bool) {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	keys := slices.Collect(maps.Keys(s.keys))
	clear(s.keys)
	return keys, false
}

func (s *subscription) Close() {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	delete(s.owner.subs, s)
}
