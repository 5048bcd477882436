package etcdstore

import (
	"maps"
	"slices"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// state is all records with their indexes, kept sorted while records come and go one at a time. It has no lock.
type state struct {
	all      map[catalog.Key]*record
	kinds    map[catalog.Kind][]*record
	replicas map[image.ID][]*record
	stores   map[image.StoreID][]*record
	running  map[image.ID][]*record
}

var kindOrders = map[catalog.Kind]order{
	catalog.KindImage: byAgeBackwards, catalog.KindOperation: byAgeBackwards, catalog.KindSite: byID, catalog.KindStore: byID,
	catalog.KindHub: byID,
}

// newState builds the state of many records at once: it sorts each list once instead of inserting one by one.
func newState(records []*record) *state {
	s := &state{
		all: make(map[catalog.Key]*record, len(records)), kinds: map[catalog.Kind][]*record{},
		replicas: map[image.ID][]*record{}, stores: map[image.StoreID][]*record{}, running: map[image.ID][]*record{},
	}
	for _, r := range records {
		s.all[r.key] = r
		s.eachList(r, appendTo)
	}
	for kind, list := range s.kinds {
		slices.SortFunc(list, kindOrders[kind])
	}
	sortAll(s.replicas, byStore)
	sortAll(s.stores, byImage)
	sortAll(s.running, byAge)
	return s
}

func sortAll[K comparable](lists map[K][]*record, by order) {
	for list := range maps.Values(lists) {
		slices.SortFunc(list, by)
	}
}

// put adds a record or replaces the one of the same key.
func (s *state) put(r *record) {
	s.delete(r.key)
	s.all[r.key] = r
	s.eachList(r, insertInto)
}

// delete removes the record of a key, if there is one.
func (s *state) delete(k catalog.Key) {
	old, ok := s.all[k]
	if !ok {
		return
	}
	delete(s.all, k)
	s.eachList(old, removeFrom)
}

// edit adds r to a sorted list or takes it out.
type edit func(list []*record, r *record, by order) []*record

// eachList applies an edit to every list that r belongs to.
func (s *state) eachList(r *record, e edit) {
	if r.key.Kind == catalog.KindReplica {
		editIn(s.replicas, r.key.Image, r, byStore, e)
		editIn(s.stores, r.key.Store, r, byImage, e)
		return
	}
	editIn(s.kinds, r.key.Kind, r, kindOrders[r.key.Kind], e)
	if id, ok := r.running(); ok {
		editIn(s.running, image.ID(id), r, byAge, e)
	}
}

func editIn[K comparable](lists map[K][]*record, k K, r *record, by order, e edit) {
	if list := e(lists[k], r, by); len(list) > 0 {
		lists[k] = list
	} else {
		delete(lists, k)
	}
}

// appendTo leaves the list unsorted.
func appendTo(list []*record, r *record, _ order) []*record { return append(list, r) }

func insertInto(list []*record, r *record, by order) []*record {
	i, _ := slices.BinarySearchFunc(list, r, by)
	return slices.Insert(list, i, r)
}

func removeFrom(list []*record, r *record, by order) []*record {
	if i, ok := slices.BinarySearchFunc(list, r, by); ok {
		return slices.Delete(list, i, i+1)
	}
	return list
}
