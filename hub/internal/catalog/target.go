package catalog

import (
	"fmt"
	"slices"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Target says which stores a request is for. Exactly one of Stores and All is given.
type Target struct {
	Stores         []string
	All            bool
	AllMustSucceed bool
	Priority       storev1.Priority // of the copies that the request makes or joins
}

// resolve checks the target against the registered stores and returns the store ids, sorted, without repeats.
func (c *Catalog) resolve(t Target) ([]image.StoreID, error) {
	switch {
	case t.All && len(t.Stores) > 0:
		return nil, fault.BadField("target.stores", "must be empty together with target.all_stores")
	case !t.All && len(t.Stores) == 0:
		return nil, fault.BadField("target.stores", "must name at least one store, or set target.all_stores")
	}
	var ids []image.StoreID
	if t.All {
		for _, s := range c.records.Stores() {
			ids = append(ids, image.StoreID(s.Id))
		}
		if len(ids) == 0 {
			return nil, fault.New(fault.Precondition, "NO_STORES", "no store is registered yet; start an agent first")
		}
		return ids, nil
	}
	for i, name := range t.Stores {
		field := fmt.Sprintf("target.stores[%d]", i)
		id, err := image.ParseStoreID(field, name)
		if err != nil {
			return nil, err
		}
		if s, _ := c.records.Store(id); s == nil {
			return nil, fault.BadField(field, "no store is named %q", id)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// parts returns the running parts of an operation over the stores.
func parts(stores []image.StoreID) []*storev1.OperationStore {
	out := make([]*storev1.OperationStore, len(stores))
	for i, s := range stores {
		out[i] = &storev1.OperationStore{StoreId: string(s), State: storev1.OperationState_OPERATION_STATE_RUNNING}
	}
	return out
}

// withoutStores returns failed without the given stores.
func withoutStores(failed []string, stores []image.StoreID) []string {
	return slices.DeleteFunc(slices.Clone(failed), func(f string) bool { return slices.Contains(stores, image.StoreID(f)) })
}
