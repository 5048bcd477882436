package session

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// nameOnly is metadata with little in it.
func nameOnly(img *storev1.Image, _ int64, _ *storev1.Replica) *agentv1.ImageMetadata {
	return &agentv1.ImageMetadata{Name: img.GetName(), Properties: img.GetProperties()}
}

// A change of the image's record reaches the sites that hold the image, as a delta that leaves the goal as it was.
func TestMetadataDelta(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	h.service.Metadata = nameOnly
	h.put("a", "dcn0", 4)
	h.put("b", "central", 1)
	h.records.Put(catalog.ImageKey("a"), &storev1.Image{Id: "a", Name: "one"})
	a, b := h.connect("dcn0", "dcn0"), h.connect("central", "central")
	first := a.desired().Replicas[0]
	if first.Metadata.GetName() != "one" {
		t.Fatalf("snapshot: %v", first)
	}
	b.desired()
	h.records.Put(catalog.ImageKey("a"), &storev1.Image{Id: "a", Name: "two"})
	d := a.desired()
	if d.Snapshot || len(d.Replicas) != 1 || d.Replicas[0].Metadata.GetName() != "two" {
		t.Fatalf("delta: %v", d)
	}
	got := d.Replicas[0]
	got.Metadata = first.Metadata
	if !proto.Equal(got, first) {
		t.Errorf("the goal changed from %v to %v", first, got)
	}
	h.records.Put(catalog.ImageKey("a"), &storev1.Image{Id: "a", Name: "two"}) // nothing that a site is told
	h.put("b", "central", 2)
	h.put("a", "dcn0", 5)
	if d := a.desired(); len(d.Replicas) != 1 || d.Replicas[0].Generation != 5 {
		t.Errorf("after a change that is none: %v", d)
	}
	if d := b.desired(); len(d.Replicas) != 1 || d.Replicas[0].ImageId != "b" {
		t.Errorf("the site without the image is told: %v", d)
	}
}

// Messages stay far below what the other side accepts, however much there is to say of the images.
func TestLargeMetadataIsCutIntoMessages(t *testing.T) {
	t.Parallel()
	h := newHub(t, 0)
	h.service.Metadata = nameOnly
	const images = 20
	big := strings.Repeat("x", 300<<10)
	for i := range images {
		id := fmt.Sprintf("i%02d", i)
		h.put(id, "dcn0", 1)
		h.records.Put(catalog.ImageKey(image.ID(id)), &storev1.Image{Id: id, Name: big})
	}
	a := h.connect("dcn0", "dcn0")
	seen := map[string]bool{}
	for messages := 1; ; messages++ {
		d := a.desired()
		if size := proto.Size(d); size > 2*batchBytes || d.Snapshot != (messages == 1) {
			t.Fatalf("message %d has %d bytes, snapshot %v", messages, size, d.Snapshot)
		}
		for _, r := range d.Replicas {
			seen[r.ImageId] = len(r.Metadata.Name) == len(big)
		}
		if !d.More {
			break
		}
	}
	if len(seen) != images {
		t.Errorf("%d images came", len(seen))
	}
}

// BenchmarkMetadataDelta is one change of one image that a thousand sites hold, each of which holds a few more: what the
// hub computes until all messages are encoded.
func BenchmarkMetadataDelta(b *testing.B) {
	const sites, others = 1000, 3
	records := catalogtest.New()
	service := New(Config{
		Catalog: catalog.New(records, "central", catalog.DefaultLimits(), time.Now), Log: hclog.NewNullLogger(), Now: time.Now,
		Desired: func(_ *storev1.Image, r *storev1.Replica) *agentv1.DesiredReplica {
			return &agentv1.DesiredReplica{ImageId: r.ImageId, StoreId: r.StoreId, Generation: r.Generation}
		},
		Metadata: nameOnly,
	})
	properties := map[string]string{}
	for i := range 20 {
		properties[fmt.Sprintf("hw_property_%d", i)] = "some value of a property"
	}
	ids := []string{"changed"}
	for i := range others {
		ids = append(ids, fmt.Sprintf("other%03d", i))
	}
	for _, id := range ids {
		records.Put(catalog.ImageKey(image.ID(id)), &storev1.Image{Id: id, Name: "debian", Properties: properties})
	}
	var writers []*writer
	for i := range sites {
		store := image.StoreID(fmt.Sprintf("dcn%03d", i))
		for _, id := range ids {
			records.Put(catalog.ReplicaKey(image.ID(id), store), &storev1.Replica{ImageId: id, StoreId: string(store), Generation: 1})
		}
		s := newSession(service, image.SiteID(store), 1, map[image.StoreID]bool{store: true}, discard{})
		w := &writer{session: s, sent: map[key]digest{}}
		writers = append(writers, w)
		if err := w.flush(); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for i := range b.N {
		records.Put(catalog.ImageKey("changed"), &storev1.Image{Id: "changed", Name: fmt.Sprint(i), Properties: properties})
		for _, w := range writers {
			for store := range w.accepted {
				w.touch(key{"changed", store})
			}
			if err := w.flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// discard is a stream that encodes messages and forgets them.
type discard struct {
	agentv1.SessionService_ConnectServer
}

// Context implements grpc.ServerStream.
func (discard) Context() context.Context { return context.Background() }

// Send implements the stream.
func (discard) Send(m *agentv1.ConnectResponse) error {
	_, err := proto.Marshal(m)
	return err
}
