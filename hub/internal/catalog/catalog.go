// Package catalog owns the records of images, replicas, sites, stores and operations, and the rules by which user
// requests change them. It decides; package reconcile carries out; package etcdstore remembers.
//
// A request changes few records whatever the number of stores: it writes the image and an operation that names the
// stores; the reconciler creates the replicas the operation asks for.
package catalog

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// MaxWrites is the most writes one Commit takes; etcd refuses transactions of more than 128 operations, guards included.
const MaxWrites = 50

// Catalog applies user requests to the records. All methods block until the store has answered; they repeat what lost a
// race a bounded number of times.
type Catalog struct {
	records Records
	central image.StoreID
	limits  Limits
	now     func() time.Time
	turn    chan struct{} // held by the one request that goes on after lost races
}

// New returns a catalog. central is the id of the central store, which need not be registered yet.
func New(records Records, central image.StoreID, limits Limits, now func() time.Time) *Catalog {
	return &Catalog{records: records, central: central, limits: limits, now: now, turn: make(chan struct{}, 1)}
}

// Limits returns what users may store.
func (c *Catalog) Limits() Limits { return c.limits }

// Central returns the id of the central store.
func (c *Catalog) Central() image.StoreID { return c.central }

// Read gives access to the records as they are.
func (c *Catalog) Read() Reader { return c.records }

// Subscribe returns a subscription to changes of records.
func (c *Catalog) Subscribe() Subscription { return c.records.Subscribe() }

// race says how long a request that goes on losing races waits between attempts.
var race = retry.Policy{Initial: 2 * time.Millisecond, Max: 100 * time.Millisecond}

const (
	attempts = 20 // in all
	atOnce   = 2  // of them beside others; after these the request waits for its turn
)

// repeat calls f, which reads, decides and commits, again while it loses races. Those that have lost go on one at a time, so
// that many requests that change one record lose to the few that have just come, not to each other. Must not be called in f.
func (c *Catalog) repeat(ctx context.Context, f func() error) error {
	var err error
	lost := func() bool {
		err = f()
		return fault.Is(err, fault.Conflict) && ctx.Err() == nil
	}
	for range atOnce {
		if !lost() {
			return err
		}
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return err
	}
	defer func() { <-c.turn }()
	wait := race.Backoff()
	for i := atOnce + 1; lost() && i < attempts && wait.Wait(ctx) == nil; i++ {
	}
	return err
}

func (c *Catalog) stamp() *timestamppb.Timestamp { return timestamppb.New(c.now()) }

// ImageKey returns the key of an image.
func ImageKey(id image.ID) Key { return Key{Kind: KindImage, ID: string(id)} }

// ReplicaKey returns the key of a replica.
func ReplicaKey(id image.ID, store image.StoreID) Key {
	return Key{Kind: KindReplica, Image: id, Store: store}
}

// OperationKey returns the key of an operation.
func OperationKey(id image.ID) Key { return Key{Kind: KindOperation, ID: string(id)} }

// SiteKey returns the key of a site.
func SiteKey(id image.SiteID) Key { return Key{Kind: KindSite, ID: string(id)} }

// StoreKey returns the key of a store.
func StoreKey(id image.StoreID) Key { return Key{Kind: KindStore, ID: string(id)} }

// HubKey returns the key of what holds for all hubs together.
func HubKey() Key { return Key{Kind: KindHub, ID: "hub"} }

// visibleImage returns an image that users can see, or NotFound.
func (c *Catalog) visibleImage(id image.ID) (*storev1.Image, int64, error) {
	img, rev := c.records.Image(id)
	if img == nil || img.Status == storev1.ImageStatus_IMAGE_STATUS_DELETED {
		return nil, 0, fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "no image %s", id)
	}
	return img, rev, nil
}
