package rbdtest

import (
	"slices"
	"strings"
	"sync"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func testInfo(e *env) {
	if got := e.pool.Driver(); got != e.opts.Driver {
		e.Errorf("driver is %q, want %q", got, e.opts.Driver)
	}
	first, err := e.pool.Info(e.ctx)
	e.ok("info", err)
	if first.FSID == "" || first.Pool == "" {
		e.Errorf("info %+v lacks the id of the cluster or the name of the pool", first)
	}
	if first.TotalBytes < 0 || first.TotalBytes > 0 && (first.FreeBytes < 0 || first.FreeBytes > first.TotalBytes) {
		e.Errorf("info %+v: free bytes are not between 0 and the total", first)
	}
	second, err := e.pool.Info(e.ctx)
	e.ok("info", err)
	if second.FSID != first.FSID || second.Pool != first.Pool {
		e.Errorf("info changed from %+v to %+v", first, second)
	}
}

func testList(e *env) {
	e.create("a", chunk)
	e.create("b", chunk)
	e.wantNames("a", "b")
	e.ok("rename", e.pool.Rename(e.ctx, e.name("a"), e.name("c")))
	e.wantNames("b", "c")
}

// wantNames fails unless the names of this part are exactly these.
func (e *env) wantNames(want ...string) {
	e.Helper()
	all, err := e.pool.List(e.ctx)
	e.ok("list", err)
	var got []string
	for _, name := range all {
		if short, ok := strings.CutPrefix(name, e.prefix); ok {
			got = append(got, short)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.Fatalf("the pool lists %q, want %q", got, want)
	}
}

func testRename(e *env) {
	content := pattern(1, 3000)
	img := e.create("from", 3000)
	e.write(img, content, 0)
	e.ok("set meta", img.SetMeta(e.ctx, "atoll.key", "value"))
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.ok("protect snapshot", img.ProtectSnapshot(e.ctx))
	e.ok("close", img.Close())
	reader := e.openSnapshot("from")

	e.ok("rename", e.pool.Rename(e.ctx, e.name("from"), e.name("to")))
	_, err := e.pool.Open(e.ctx, e.name("from"))
	e.wantFault("open by the old name", err, fault.NotFound, "")
	_, err = e.pool.OpenSnapshot(e.ctx, e.name("from"))
	e.wantFault("open the snapshot by the old name", err, fault.NotFound, "")
	e.wantBytes(reader, 0, content) // a handle from before goes on reading
	snap := e.openSnapshot("to")
	e.wantBytes(snap, 0, content)
	value, err := snap.Meta(e.ctx, "atoll.key")
	if e.ok("meta", err); value != "value" {
		e.Errorf("meta after rename is %q", value)
	}
	_, protected, err := e.open("to").SnapshotState(e.ctx)
	if e.ok("snapshot state", err); !protected {
		e.Error("the snapshot is not protected after rename")
	}

	e.wantFault("rename of nothing", e.pool.Rename(e.ctx, e.name("none"), e.name("other")), fault.NotFound, "")
	e.create("third", 4000)
	e.wantFault("rename onto an image", e.pool.Rename(e.ctx, e.name("third"), e.name("to")), fault.Exists, "")
	if size := e.open("third").Size(); size != 4000 {
		e.Errorf("the source of the refused rename has %d bytes", size)
	}
	e.wantBytes(e.openSnapshot("to"), 0, content)
	e.wantFault("rename onto itself", e.pool.Rename(e.ctx, e.name("to"), e.name("to")), fault.Exists, "")
	e.wantNames("third", "to")
	e.create("from", 5000) // the old name is free again
}

// testRenameRace renames several images to one name at once: one wins, the others keep their names.
func testRenameRace(e *env) {
	names := []string{"r0", "r1", "r2", "r3"}
	for i, name := range names {
		e.ok("close", e.create(name, int64(1000+i)).Close())
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = e.pool.Rename(e.ctx, e.name(name), e.name("goal")) })
	}
	wg.Wait()
	want, sizes := []string{"goal"}, []int64{}
	for i, err := range errs {
		if err == nil {
			sizes = append(sizes, int64(1000+i))
			continue
		}
		e.wantFault("rename to a name that another took", err, fault.Exists, "")
		want = append(want, names[i])
	}
	e.wantNames(want...)
	if size := e.open("goal").Size(); !slices.Equal(sizes, []int64{size}) {
		e.Errorf("the image has %d bytes, and the renames of images with %v bytes succeeded", size, sizes)
	}
}

func testRemove(e *env) {
	e.wantFault("remove of nothing", e.pool.Remove(e.ctx, e.name("none")), fault.NotFound, "")

	e.ok("close", e.create("plain", chunk).Close())
	e.ok("remove", e.pool.Remove(e.ctx, e.name("plain")))

	e.publish("published", pattern(2, 5000))
	e.ok("remove with a protected snapshot", e.pool.Remove(e.ctx, e.name("published")))

	img := e.create("unprotected", chunk)
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.ok("close", img.Close())
	e.ok("remove with an unprotected snapshot", e.pool.Remove(e.ctx, e.name("unprotected")))

	e.wantNames()
	for _, name := range []string{"plain", "published", "unprotected"} {
		_, err := e.pool.Open(e.ctx, e.name(name))
		e.wantFault("open after remove", err, fault.NotFound, "")
		_, err = e.pool.OpenSnapshot(e.ctx, e.name(name))
		e.wantFault("open snapshot after remove", err, fault.NotFound, "")
		e.wantFault("second remove", e.pool.Remove(e.ctx, e.name(name)), fault.NotFound, "")
	}
	again := e.create("published", 5000)
	e.wantBytes(again, 0, make([]byte, 5000)) // nothing of the old image shows through
	if exists, _, err := again.SnapshotState(e.ctx); err != nil || exists {
		e.Errorf("a new image has a snapshot (%v)", err)
	}
}

func testRemoveInUse(e *env) {
	content := pattern(3, 9000)
	e.publish("busy", content)
	writer := e.open("busy")
	e.wantFault("remove of an image that is open for writing", e.pool.Remove(e.ctx, e.name("busy")), fault.Precondition, "IN_USE")
	e.wantBytes(e.openSnapshot("busy"), 0, content)
	exists, protected, err := writer.SnapshotState(e.ctx)
	if e.ok("snapshot state", err); !exists || !protected {
		e.Errorf("the refused remove changed the snapshot: exists %v, protected %v", exists, protected)
	}
	e.ok("close", writer.Close())
	e.ok("remove", e.pool.Remove(e.ctx, e.name("busy")))
}

func testChildren(e *env) {
	_, err := e.pool.Children(e.ctx, e.name("none"))
	e.wantFault("children of nothing", err, fault.NotFound, "")
	img := e.create("image", chunk)
	e.wantChildren("image", 0)
	e.ok("create snapshot", img.CreateSnapshot(e.ctx))
	e.ok("protect snapshot", img.ProtectSnapshot(e.ctx))
	e.ok("close", img.Close())
	e.wantChildren("image", 0)

	clones := []Clone{e.opts.Clone(e.T, e.name("image")), e.opts.Clone(e.T, e.name("image"))}
	e.wantChildren("image", 2)
	e.ok("rename", e.pool.Rename(e.ctx, e.name("image"), e.name("renamed")))
	e.wantChildren("renamed", 2)
	clones[0].Delete(e.T)
	e.wantChildren("renamed", 1)
	clones[1].Delete(e.T)
	e.wantChildren("renamed", 0)
}

func (e *env) wantChildren(s string, want int) {
	e.Helper()
	got, err := e.pool.Children(e.ctx, e.name(s))
	if e.ok("children", err); got != want {
		e.Fatalf("%s has %d children, want %d", s, got, want)
	}
}

// testRemoveWithClone removes an image of which a clone has appeared after the caller looked.
func testRemoveWithClone(e *env) {
	content := pattern(4, chunk+9000)
	e.publish("parent", content)
	clone := e.opts.Clone(e.T, e.name("parent"))
	e.ok("remove", e.pool.Remove(e.ctx, e.name("parent")))
	e.wantNames()
	_, err := e.pool.Open(e.ctx, e.name("parent"))
	e.wantFault("open after remove", err, fault.NotFound, "")
	if got := clone.Read(e.T, len(content)); !slices.Equal(got, content) {
		e.Error("the clone of the removed image reads other bytes")
	}
	e.ok("close", e.create("parent", chunk).Close()) // the name is free
	if got := clone.Read(e.T, len(content)); !slices.Equal(got, content) {
		e.Error("the clone reads other bytes after its parent's name was used again")
	}
	clone.Delete(e.T)
	e.ok("remove", e.pool.Remove(e.ctx, e.name("parent")))
}

var _ rbd.Pool = (*Faulty)(nil)
