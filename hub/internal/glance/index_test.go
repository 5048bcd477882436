package glance

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func someImage(id string, seconds int64, status storev1.ImageStatus) *storev1.Image {
	return &storev1.Image{
		Id: id, Status: status, CreateTime: &timestamppb.Timestamp{Seconds: seconds}, UpdateTime: &timestamppb.Timestamp{Seconds: seconds},
	}
}

// TestIndexFollowsTheRecords changes records at random and reads at random moments: the index shows what one that was
// made just now shows.
func TestIndexFollowsTheRecords(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e", "f"}
	rapid.Check(t, func(rt *rapid.T) {
		records := catalogtest.New()
		c := catalog.New(records, "central", catalog.Limits{}, time.Now)
		x := NewIndex(c)
		defer x.Close()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "image")
			k, v := drawRecord(rt, id)
			records.Put(k, v)
			switch rapid.IntRange(0, 4).Draw(rt, "read") {
			case 0:
				x.Image(image.ID(id))
			case 1:
				compareIndex(rt, x, c, ids)
			}
		}
		compareIndex(rt, x, c, ids)
	})
}

// drawRecord returns a change of a record that is about an image.
func drawRecord(rt *rapid.T, id string) (catalog.Key, proto.Message) {
	gone := rapid.IntRange(0, 3).Draw(rt, "gone") == 0
	switch rapid.IntRange(0, 2).Draw(rt, "kind") {
	case 0:
		if gone {
			return catalog.ImageKey(image.ID(id)), nil
		}
		status := rapid.SampledFrom([]storev1.ImageStatus{
			storev1.ImageStatus_IMAGE_STATUS_QUEUED, storev1.ImageStatus_IMAGE_STATUS_ACTIVE, storev1.ImageStatus_IMAGE_STATUS_DELETED,
		}).Draw(rt, "status")
		return catalog.ImageKey(image.ID(id)), someImage(id, int64(rapid.IntRange(1, 3).Draw(rt, "created")), status)
	case 1:
		store := rapid.SampledFrom([]string{"central", "dcn1"}).Draw(rt, "store")
		if gone {
			return catalog.ReplicaKey(image.ID(id), image.StoreID(store)), nil
		}
		phase := rapid.SampledFrom([]storev1.ReplicaPhase{
			storev1.ReplicaPhase_REPLICA_PHASE_PENDING, storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE, storev1.ReplicaPhase_REPLICA_PHASE_FAILED,
		}).Draw(rt, "phase")
		return catalog.ReplicaKey(image.ID(id), image.StoreID(store)),
			&storev1.Replica{ImageId: id, StoreId: store, SiteId: store, Phase: phase, Location: "rbd://f/p/" + id + "/snap"}
	default:
		if gone {
			return catalog.OperationKey(image.ID("op-" + id)), nil
		}
		state := rapid.SampledFrom([]storev1.OperationState{
			storev1.OperationState_OPERATION_STATE_RUNNING, storev1.OperationState_OPERATION_STATE_SUCCEEDED,
		}).Draw(rt, "state")
		return catalog.OperationKey(image.ID("op-" + id)), &storev1.Operation{
			Id: "op-" + id, ImageId: id, Kind: storev1.OperationKind_OPERATION_KIND_COPY, State: state, CreateTime: &timestamppb.Timestamp{Seconds: 1},
			Stores: []*storev1.OperationStore{{StoreId: "dcn2", State: state}},
		}
	}
}

func compareIndex(rt *rapid.T, x *Index, c *catalog.Catalog, ids []string) {
	fresh := NewIndex(c)
	defer fresh.Close()
	got, want := slices.Collect(x.Images().After(nil)), slices.Collect(fresh.Images().After(nil))
	if len(got) != len(want) {
		rt.Fatalf("%d images, want %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			rt.Fatalf("image %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	for _, id := range ids {
		if got, want := x.Image(image.ID(id)), fresh.Image(image.ID(id)); !reflect.DeepEqual(got, want) {
			rt.Fatalf("image %s: got %+v, want %+v", id, got, want)
		}
	}
}

func TestIndexIsNewestFirst(t *testing.T) {
	records := catalogtest.New()
	x := NewIndex(catalog.New(records, "central", catalog.Limits{}, time.Now))
	defer x.Close()
	for id, created := range map[string]int64{"a": 3, "b": 5, "c": 5, "d": 1} {
		records.Put(catalog.ImageKey(image.ID(id)), someImage(id, created, storev1.ImageStatus_IMAGE_STATUS_QUEUED))
	}
	if got := order(x.Images()); got != "c b a d" {
		t.Fatalf("got %s", got)
	}
	shared := x.Images()
	records.Put(catalog.ImageKey("b"), nil)
	records.Put(catalog.ImageKey("e"), someImage("e", 2, storev1.ImageStatus_IMAGE_STATUS_QUEUED))
	if got := order(x.Images()); got != "c a e d" {
		t.Fatalf("got %s", got)
	}
	if got := order(shared); got != "c b a d" {
		t.Fatalf("a slice that was handed out has changed: %s", got)
	}
}

func order(images imageapi.Sequence) string {
	var ids []string
	for img := range images.After(nil) {
		ids = append(ids, string(img.ID))
	}
	return strings.Join(ids, " ")
}

func TestIndexKeepsWhatHasNotChanged(t *testing.T) {
	records := catalogtest.New()
	x := NewIndex(catalog.New(records, "central", catalog.Limits{}, time.Now))
	defer x.Close()
	for _, id := range []string{"a", "b"} {
		records.Put(catalog.ImageKey(image.ID(id)), someImage(id, 1, storev1.ImageStatus_IMAGE_STATUS_QUEUED))
	}
	a, b := x.Image("a"), x.Image("b")
	records.Put(catalog.StoreKey("s"), &storev1.Store{Id: "s"})
	if x.Image("a") != a || x.Image("b") != b {
		t.Error("a change of a store made images anew")
	}
	records.Put(catalog.ReplicaKey("a", "dcn1"), &storev1.Replica{ImageId: "a", StoreId: "dcn1", Phase: storev1.ReplicaPhase_REPLICA_PHASE_PENDING})
	if x.Image("a") == a || x.Image("b") != b {
		t.Error("the change of one image made another anew, or not that one")
	}
}

// forgetful are records whose subscribers are told that anything may have changed.
type forgetful struct{ catalog.Records }

func (r forgetful) Subscribe() catalog.Subscription { return amnesia{r.Records.Subscribe()} }

type amnesia struct{ catalog.Subscription }

func (s amnesia) Take() ([]catalog.Key, bool) {
	s.Subscription.Take()
	return nil, true
}

func TestIndexStartsAnewAfterAReset(t *testing.T) {
	records := catalogtest.New()
	records.Put(catalog.ImageKey("a"), someImage("a", 1, storev1.ImageStatus_IMAGE_STATUS_QUEUED))
	c := catalog.New(forgetful{records}, "central", catalog.Limits{}, time.Now)
	x := NewIndex(c)
	defer x.Close()
	records.Put(catalog.ImageKey("a"), nil)
	records.Put(catalog.ImageKey("b"), someImage("b", 1, storev1.ImageStatus_IMAGE_STATUS_QUEUED))
	records.Put(catalog.ImageKey("c"), someImage("c", 1, storev1.ImageStatus_IMAGE_STATUS_DELETED))
	if got := order(x.Images()); got != "b" || x.Image("a") != nil || x.Image("b") == nil {
		t.Fatalf("got %s", got)
	}
}
