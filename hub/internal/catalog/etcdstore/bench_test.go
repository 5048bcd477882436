package etcdstore

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// many is the number of records that the cache must carry with ease.
const many = 100_000

func manyRecords() []*record {
	var list []*record
	for i := range many {
		id := image.NewID()
		created := &timestamppb.Timestamp{Seconds: int64(i * 7919 % many)}
		k := catalog.ImageKey(id)
		list = append(list, &record{key: k, msg: &storev1.Image{Id: string(id), CreateTime: created}, rev: int64(i), created: created})
		k = catalog.ReplicaKey(id, "central")
		list = append(list, &record{key: k, msg: &storev1.Replica{ImageId: string(id), StoreId: "central"}, rev: int64(i)})
	}
	return list
}

func BenchmarkState(b *testing.B) {
	list := manyRecords()
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			newState(list)
		}
	})
	s := newState(list)
	b.Run("put", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.put(list[i%len(list)])
		}
	})
	c := newCache()
	c.state = s
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			kind[*storev1.Image](c, catalog.KindImage)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	s, err := Open(b.Context(), Config{Endpoints: endpoints, Prefix: "/bench", HubID: "a"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d writers", writers), func(b *testing.B) {
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				id := string(image.NewID())
				for pb.Next() {
					if err := s.Commit(b.Context(), siteWrite(s, id, "")); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
