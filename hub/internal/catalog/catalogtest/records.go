// Package catalogtest holds a store of records in memory for tests of whatever uses catalog.Records.
package catalogtest

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Records implements catalog.Records in memory. Safe for concurrent use.
type Records struct {
	mu      sync.Mutex
	records map[catalog.Key]record
	last    int64
	commits int
	faults  []func() error
	subs    map[*subscription]struct{}
}

type record struct {
	msg proto.Message
	rev int64
}

// New returns an empty store.
func New() *Records {
	return &Records{records: map[catalog.Key]record{}, subs: map[*subscription]struct{}{}}
}

// FailNext makes the next commits fail, one error each, without changing anything.
func (r *Records) FailNext(errs ...error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range errs {
		r.faults = append(r.faults, func() error { return err })
	}
}

// RaceNext runs race in the middle of the next commit, before its revisions are compared: as if another writer had been
// faster. race may commit itself.
func (r *Records) RaceNext(race func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, func() error { race(); return nil })
}

// Commits returns how many commits have succeeded.
func (r *Records) Commits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commits
}

// Put writes a record whatever is there.
func (r *Records) Put(k catalog.Key, m proto.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.apply(catalog.Write{Key: k, Value: m})
}

// Commit applies all writes or none.
func (r *Records) Commit(ctx context.Context, writes ...catalog.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(writes) > catalog.MaxWrites {
		return fault.New(fault.Invalid, "TOO_MANY_WRITES", "a commit of %d writes is over the limit of %d", len(writes), catalog.MaxWrites)
	}
	if err := r.fault(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range writes {
		if r.records[w.Key].rev != w.Revision {
			return fault.New(fault.Conflict, "RECORD_CHANGED", "the record has changed meanwhile")
		}
	}
	r.last++
	r.commits++
	for _, w := range writes {
		r.apply(w)
	}
	return nil
}

// fault runs the next queued fault.
func (r *Records) fault() error {
	r.mu.Lock()
	if len(r.faults) == 0 {
		r.mu.Unlock()
		return nil
	}
	f := r.faults[0]
	r.faults = r.faults[1:]
	r.mu.Unlock()
	return f()
}

func (r *Records) apply(w catalog.Write) {
	if w.Value == nil {
		delete(r.records, w.Key)
	} else {
		r.records[w.Key] = record{proto.Clone(w.Value), r.last}
	}
	for s := range r.subs {
		s.add(w.Key)
	}
}

// as returns the message of a record whose kind is known.
func as[M proto.Message](rec record) M {
	m, _ := rec.msg.(M)
	return m
}

// one returns a record of a known kind.
func one[M proto.Message](r *Records, k catalog.Key) (msg M, rev int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec, ok := r.records[k]; ok {
		return as[M](rec), rec.rev
	}
	return msg, 0
}

// many returns the records of a kind that match, sorted, with their revisions.
func many[M proto.Message](r *Records, kind catalog.Kind, match func(M) bool, compare func(a, b M) int) ([]M, []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []record
	for k, rec := range r.records {
		if k.Kind == kind && match(as[M](rec)) {
			found = append(found, rec)
		}
	}
	slices.SortFunc(found, func(a, b record) int { return compare(as[M](a), as[M](b)) })
	msgs, revs := make([]M, len(found)), make([]int64, len(found))
	for i, rec := range found {
		msgs[i], revs[i] = as[M](rec), rec.rev
	}
	return msgs, revs
}

func all[M proto.Message](M) bool { return true }

// dated is a record with a create time and an id.
type dated interface {
	GetCreateTime() *timestamppb.Timestamp
	GetId() string
}

func newestFirst[M dated](a, b M) int {
	return cmp.Or(b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime()), cmp.Compare(a.GetId(), b.GetId()))
}

func oldestFirst[M dated](a, b M) int {
	return cmp.Or(a.GetCreateTime().AsTime().Compare(b.GetCreateTime().AsTime()), cmp.Compare(a.GetId(), b.GetId()))
}

func byID[M interface{ GetId() string }](a, b M) int { return cmp.Compare(a.GetId(), b.GetId()) }

// Image returns an image.
func (r *Records) Image(id image.ID) (*storev1.Image, int64) {
	return one[*storev1.Image](r, catalog.ImageKey(id))
}

// Replica returns a replica.
func (r *Records) Replica(id image.ID, store image.StoreID) (*storev1.Replica, int64) {
	return one[*storev1.Replica](r, catalog.ReplicaKey(id, store))
}

// Operation returns an operation.
func (r *Records) Operation(id image.ID) (*storev1.Operation, int64) {
	return one[*storev1.Operation](r, catalog.OperationKey(id))
}

// Site returns a site.
func (r *Records) Site(id image.SiteID) (*storev1.Site, int64) {
	return one[*storev1.Site](r, catalog.SiteKey(id))
}

// Store returns a store.
func (r *Records) Store(id image.StoreID) (*storev1.Store, int64) {
	return one[*storev1.Store](r, catalog.StoreKey(id))
}

// Hub returns what holds for all hubs together.
func (r *Records) Hub() (*storev1.Hub, int64) {
	return one[*storev1.Hub](r, catalog.HubKey())
}

// Images returns all images, newest first.
func (r *Records) Images() []*storev1.Image {
	found, _ := many(r, catalog.KindImage, all[*storev1.Image], newestFirst[*storev1.Image])
	return found
}

// Replicas returns the replicas of an image, sorted by store.
func (r *Records) Replicas(id image.ID) ([]*storev1.Replica, []int64) {
	return many(r, catalog.KindReplica,
		func(m *storev1.Replica) bool { return m.GetImageId() == string(id) },
		func(a, b *storev1.Replica) int { return cmp.Compare(a.GetStoreId(), b.GetStoreId()) })
}

// StoreReplicas returns the replicas in a store, sorted by image.
func (r *Records) StoreReplicas(store image.StoreID) []*storev1.Replica {
	found, _ := many(r, catalog.KindReplica,
		func(m *storev1.Replica) bool { return m.GetStoreId() == string(store) },
		func(a, b *storev1.Replica) int { return cmp.Compare(a.GetImageId(), b.GetImageId()) })
	return found
}

// Operations returns all operations, newest first.
func (r *Records) Operations() []*storev1.Operation {
	found, _ := many(r, catalog.KindOperation, all[*storev1.Operation], newestFirst[*storev1.Operation])
	return found
}

// ImageOperations returns the operations of an image that are not done, oldest first.
func (r *Records) ImageOperations(id image.ID) ([]*storev1.Operation, []int64) {
	return many(r, catalog.KindOperation, func(m *storev1.Operation) bool {
		return m.GetImageId() == string(id) && m.GetState() == storev1.OperationState_OPERATION_STATE_RUNNING
	}, oldestFirst[*storev1.Operation])
}

// Sites returns all sites, sorted by id.
func (r *Records) Sites() []*storev1.Site {
	found, _ := many(r, catalog.KindSite, all[*storev1.Site], byID[*storev1.Site])
	return found
}

// Stores returns all stores, sorted by id.
func (r *Records) Stores() []*storev1.Store {
	found, _ := many(r, catalog.KindStore, all[*storev1.Store], byID[*storev1.Store])
	return found
}
