package catalog

import (
	"cmp"
	"slices"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Published is what users are told of an image beyond its own record: what follows from its replicas and operations.
type Published struct {
	Stores    []string            // with a published copy, sorted
	Importing []string            // being filled, sorted
	Failed    []string            // whose fill failed, sorted
	Locations []PublishedLocation // of Stores, the central store first
	Direct    bool                // data arrives from a caller who waits until it is stored
	Task      string              // operation that fills stores now, the latest one; empty: none
}

// PublishedLocation is one published copy.
type PublishedLocation struct {
	Store image.StoreID
	Site  image.SiteID
	URL   string
}

// Publish derives what users are told of an image from the records as they are.
func (c *Catalog) Publish(img *storev1.Image) Published {
	p := publishing{img: img, have: map[string]bool{}}
	replicas, _ := c.records.Replicas(image.ID(img.Id))
	for _, r := range replicas {
		p.addReplica(r)
	}
	ops, _ := c.records.ImageOperations(image.ID(img.Id))
	for _, o := range ops {
		p.addOperation(o)
	}
	for _, s := range img.FailedStores {
		if !p.have[s] {
			p.out.Failed = append(p.out.Failed, s)
		}
	}
	slices.Sort(p.out.Importing)
	slices.Sort(p.out.Failed)
	slices.SortStableFunc(p.out.Locations, func(a, b PublishedLocation) int {
		return cmp.Or(rank(a.Store == c.central)-rank(b.Store == c.central), cmp.Compare(a.Store, b.Store))
	})
	return p.out
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

type publishing struct {
	img  *storev1.Image
	have map[string]bool
	out  Published
}

func (p *publishing) addReplica(r *storev1.Replica) {
	p.have[r.StoreId] = r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_DELETING
	switch r.Phase {
	case storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		if p.img.Status == storev1.ImageStatus_IMAGE_STATUS_ACTIVE {
			p.out.Stores = append(p.out.Stores, r.StoreId)
			p.out.Locations = append(p.out.Locations, PublishedLocation{
				Store: image.StoreID(r.StoreId), Site: image.SiteID(r.SiteId), URL: r.Location,
			})
		}
	case storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
		p.out.Failed = append(p.out.Failed, r.StoreId)
	case storev1.ReplicaPhase_REPLICA_PHASE_DELETING:
	default:
		p.out.Importing = append(p.out.Importing, r.StoreId)
	}
}

// addOperation adds the stores whose replica the planner is about to create.
func (p *publishing) addOperation(o *storev1.Operation) {
	if o.Undoing != storev1.OperationState_OPERATION_STATE_UNSPECIFIED ||
		o.Kind != storev1.OperationKind_OPERATION_KIND_IMPORT && o.Kind != storev1.OperationKind_OPERATION_KIND_COPY {
		return
	}
	p.out.Task = o.Id
	p.out.Direct = p.out.Direct || o.Source.GetDirect()
	for _, part := range o.Stores {
		if !p.have[part.StoreId] && part.State == storev1.OperationState_OPERATION_STATE_RUNNING {
			p.have[part.StoreId] = true
			p.out.Importing = append(p.out.Importing, part.StoreId)
		}
	}
}
