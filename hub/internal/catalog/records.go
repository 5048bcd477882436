package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Kind is the kind of a record.
type Kind int

// The kinds of records.
const (
	KindImage Kind = iota + 1
	KindReplica
	KindOperation
	KindSite
	KindStore
	KindHub // one record at most
)

// Key names one record. Only the parts its kind needs are set: ID for images, operations, sites and stores; Image and
// Store for replicas.
type Key struct {
	Kind  Kind
	ID    string
	Image image.ID
	Store image.StoreID
}

// Write is one change of a commit: Value nil deletes the record. Revision is the revision at which the caller read the
// record, 0 when it must not exist; a different one in the store fails the whole commit with a Conflict error.
type Write struct {
	Key      Key
	Value    proto.Message
	Revision int64
}

// Reader reads records from a cache that follows the store. Returned messages are shared and must not be changed; clone
// them first. The second result is the record's revision. A missing record yields nil and 0.
type Reader interface {
	Image(id image.ID) (*storev1.Image, int64)
	Replica(id image.ID, store image.StoreID) (*storev1.Replica, int64)
	Operation(id image.ID) (*storev1.Operation, int64)
	Site(id image.SiteID) (*storev1.Site, int64)
	Store(id image.StoreID) (*storev1.Store, int64)
	// Hub returns what holds for all hubs together.
	Hub() (*storev1.Hub, int64)
	Lists
}

// Lists returns many records. The slices belong to the caller, the messages are shared.
type Lists interface {
	// Images returns all images, newest first (create time, then id).
	Images() []*storev1.Image
	// Replicas returns the replicas of one image, sorted by store, with their revisions.
	Replicas(id image.ID) ([]*storev1.Replica, []int64)
	// StoreReplicas returns the replicas in one store, sorted by image.
	StoreReplicas(store image.StoreID) []*storev1.Replica
	// Operations returns all operations, newest first (create time, then id).
	Operations() []*storev1.Operation
	// ImageOperations returns the operations of one image that are not done, oldest first, with their revisions.
	ImageOperations(id image.ID) ([]*storev1.Operation, []int64)
	// Sites returns all sites, sorted by id.
	Sites() []*storev1.Site
	// Stores returns all stores, sorted by id.
	Stores() []*storev1.Store
}

// Records is the store of all records. The etcd implementation is in package etcdstore.
type Records interface {
	Reader
	// Commit applies all writes or none. It returns once the cache shows them, so that the caller reads its own writes.
	// Errors: Conflict when a record has changed since it was read or this hub is no longer the leader, Unavailable when
	// the outcome is not known (read again before repeating).
	Commit(ctx context.Context, writes ...Write) error
	// Subscribe returns a subscription to changes, from now on. Close it when done.
	Subscribe() Subscription
}

// Subscription tells which records have changed. It holds each key at most once, so a slow reader costs no memory.
type Subscription interface {
	// C receives a value when Take has something to return.
	C() <-chan struct{}
	// Take returns and forgets the keys that have changed. reset is true when the cache has been rebuilt and anything may
	// have changed.
	Take() (keys []Key, reset bool)
	// Close ends the subscription.
	Close()
}
