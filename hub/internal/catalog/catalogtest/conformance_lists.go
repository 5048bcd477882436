package catalogtest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func checkSorting(t *testing.T, r catalog.Records) {
	t.Helper()
	for i, seconds := range []int64{20, 10, 30, 20} {
		id := fmt.Sprintf("i%d", i)
		put(t, r, catalog.ImageKey(image.ID(id)), &storev1.Image{Id: id, CreateTime: at(seconds)})
	}
	for i, seconds := range []int64{20, 10, 30, 15} {
		id := fmt.Sprintf("o%d", i)
		op := &storev1.Operation{Id: id, ImageId: "i0", CreateTime: at(seconds), State: storev1.OperationState_OPERATION_STATE_RUNNING}
		put(t, r, catalog.OperationKey(image.ID(id)), op)
	}
	for _, k := range [][2]string{{"i1", "b"}, {"i0", "b"}, {"i0", "c"}, {"i0", "a"}, {"i2", "b"}} {
		put(t, r, catalog.ReplicaKey(image.ID(k[0]), image.StoreID(k[1])), &storev1.Replica{ImageId: k[0], StoreId: k[1]})
	}
	for _, id := range []string{"y", "x", "z"} {
		put(t, r, catalog.SiteKey(image.SiteID(id)), &storev1.Site{Id: id})
		put(t, r, catalog.StoreKey(image.StoreID(id)), &storev1.Store{Id: id})
	}
	done := &storev1.Operation{Id: "o3", ImageId: "i0", CreateTime: at(15), State: storev1.OperationState_OPERATION_STATE_CANCELLED}
	put(t, r, catalog.OperationKey("o3"), done)

	replicas, rrevs := r.Replicas("i0")
	running, orevs := r.ImageOperations("i0")
	for name, c := range map[string]struct{ got, want []string }{
		"images":           {ids(r.Images()), []string{"i2", "i0", "i3", "i1"}},
		"operations":       {ids(r.Operations()), []string{"o2", "o0", "o3", "o1"}},
		"image operations": {ids(running), []string{"o1", "o0", "o2"}},
		"sites":            {ids(r.Sites()), []string{"x", "y", "z"}},
		"stores":           {ids(r.Stores()), []string{"x", "y", "z"}},
		"replicas":         {names(replicas), []string{"i0/a", "i0/b", "i0/c"}},
		"store replicas":   {names(r.StoreReplicas("b")), []string{"i0/b", "i1/b", "i2/b"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
	for i, rep := range replicas {
		if want := revision(r, catalog.ReplicaKey("i0", image.StoreID(rep.StoreId))); rrevs[i] != want {
			t.Errorf("replica %s: revision %d, want %d", rep.StoreId, rrevs[i], want)
		}
	}
	for i, op := range running {
		if want := revision(r, catalog.OperationKey(image.ID(op.Id))); orevs[i] != want {
			t.Errorf("operation %s: revision %d, want %d", op.Id, orevs[i], want)
		}
	}
	if list, revs := r.Replicas("none"); len(list)+len(revs)+len(r.StoreReplicas("none")) != 0 {
		t.Error("replicas of what does not exist")
	}
}

func ids[M interface{ GetId() string }](list []M) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.GetId())
	}
	return out
}

func names(list []*storev1.Replica) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.ImageId+"/"+m.StoreId)
	}
	return out
}

// checkAgreesWithModel makes random changes and compares every list with one computed the slow way.
func checkAgreesWithModel(t *testing.T, r catalog.Records) {
	t.Helper()
	model := map[catalog.Key]proto.Message{}
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 8).Draw(rt, "commits") {
			writes := map[catalog.Key]catalog.Write{}
			for range rapid.IntRange(1, 5).Draw(rt, "writes") {
				k, v := randomRecord(rt)
				writes[k] = catalog.Write{Key: k, Value: v, Revision: revision(r, k)}
			}
			var list []catalog.Write
			for k, w := range writes {
				list = append(list, w)
				if w.Value == nil {
					delete(model, k)
				} else {
					model[k] = w.Value
				}
			}
			if err := r.Commit(t.Context(), list...); err != nil {
				rt.Fatal(err)
			}
		}
		compareLists(rt, r, model)
	})
}

func randomRecord(rt *rapid.T) (catalog.Key, proto.Message) {
	id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(rt, "id")
	other := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "other")
	created := at(rapid.Int64Range(1, 3).Draw(rt, "created"))
	state := storev1.OperationState(rapid.Int32Range(1, 4).Draw(rt, "state"))
	all := map[catalog.Key]proto.Message{
		catalog.ImageKey(image.ID(id)):                         &storev1.Image{Id: id, CreateTime: created},
		catalog.OperationKey(image.ID(id)):                     &storev1.Operation{Id: id, ImageId: other, CreateTime: created, State: state},
		catalog.ReplicaKey(image.ID(id), image.StoreID(other)): &storev1.Replica{ImageId: id, StoreId: other},
		catalog.SiteKey(image.SiteID(id)):                      &storev1.Site{Id: id},
		catalog.StoreKey(image.StoreID(id)):                    &storev1.Store{Id: id},
	}
	kind := catalog.Kind(rapid.IntRange(int(catalog.KindImage), int(catalog.KindStore)).Draw(rt, "kind"))
	for k, v := range all {
		if k.Kind != kind {
			continue
		}
		if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
			return k, nil
		}
		return k, v
	}
	rt.Fatalf("kind %d has no sample", kind)
	return catalog.Key{}, nil
}

func compareLists(rt *rapid.T, r catalog.Records, model map[catalog.Key]proto.Message) {
	images := pick(model, func(*storev1.Image) bool { return true })
	slices.SortFunc(images, func(a, b *storev1.Image) int {
		return cmp.Or(cmp.Compare(b.CreateTime.Seconds, a.CreateTime.Seconds), cmp.Compare(a.Id, b.Id))
	})
	same(rt, "images", r.Images(), images)
	ops := pick(model, func(*storev1.Operation) bool { return true })
	slices.SortFunc(ops, func(a, b *storev1.Operation) int {
		return cmp.Or(cmp.Compare(b.CreateTime.Seconds, a.CreateTime.Seconds), cmp.Compare(a.Id, b.Id))
	})
	same(rt, "operations", r.Operations(), ops)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		replicas := pick(model, func(m *storev1.Replica) bool { return m.ImageId == id })
		slices.SortFunc(replicas, func(a, b *storev1.Replica) int { return cmp.Compare(a.StoreId, b.StoreId) })
		got, revs := r.Replicas(image.ID(id))
		same(rt, "replicas of "+id, got, replicas)
		if len(revs) != len(got) {
			rt.Fatalf("%d replicas with %d revisions", len(got), len(revs))
		}
		replicas = pick(model, func(m *storev1.Replica) bool { return m.StoreId == id })
		slices.SortFunc(replicas, func(a, b *storev1.Replica) int { return cmp.Compare(a.ImageId, b.ImageId) })
		same(rt, "replicas in "+id, r.StoreReplicas(image.StoreID(id)), replicas)
		running := pick(model, func(m *storev1.Operation) bool {
			return m.ImageId == id && m.State == storev1.OperationState_OPERATION_STATE_RUNNING
		})
		got2, revs := r.ImageOperations(image.ID(id))
		if len(got2) != len(running) || len(revs) != len(running) || !slices.IsSortedFunc(got2, func(a, b *storev1.Operation) int {
			return cmp.Compare(a.CreateTime.Seconds, b.CreateTime.Seconds)
		}) {
			rt.Fatalf("running operations of %s: got %v, want %v", id, got2, running)
		}
	}
	sites := pick(model, func(*storev1.Site) bool { return true })
	slices.SortFunc(sites, func(a, b *storev1.Site) int { return cmp.Compare(a.Id, b.Id) })
	same(rt, "sites", r.Sites(), sites)
	stores := pick(model, func(*storev1.Store) bool { return true })
	slices.SortFunc(stores, func(a, b *storev1.Store) int { return cmp.Compare(a.Id, b.Id) })
	same(rt, "stores", r.Stores(), stores)
}

func pick[M proto.Message](model map[catalog.Key]proto.Message, want func(M) bool) []M {
	var out []M
	for _, v := range model {
		if m, ok := v.(M); ok && want(m) {
			out = append(out, m)
		}
	}
	return out
}

func same[M proto.Message](rt *rapid.T, what string, got, want []M) {
	if !slices.EqualFunc(got, want, func(a, b M) bool { return proto.Equal(a, b) }) {
		rt.Fatalf("%s: got %v, want %v", what, got, want)
	}
}
