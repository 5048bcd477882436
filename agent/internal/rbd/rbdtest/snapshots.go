package rbdtest

import (
	"context"
	"strings"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func testSnapshot(e *env) {
	img := e.create("image", chunk+99)
	e.write(img, pattern(1, 2599), chunk-2500)
	e.wantSnapshot(img, false, false)
	e.wantFault("protect without a snapshot", img.ProtectSnapshot(e.ctx), fault.NotFound, "")
	e.wantFault("remove without a snapshot", img.RemoveSnapshot(e.ctx), fault.NotFound, "")

	e.ok("create", img.CreateSnapshot(e.ctx))
	e.wantSnapshot(img, true, false)
	e.wantFault("second create", img.CreateSnapshot(e.ctx), fault.Exists, "")
	e.ok("remove", img.RemoveSnapshot(e.ctx))
	e.wantSnapshot(img, false, false)

	e.ok("create", img.CreateSnapshot(e.ctx))
	e.ok("protect", img.ProtectSnapshot(e.ctx))
	e.wantSnapshot(img, true, true)
	e.ok("protect again", img.ProtectSnapshot(e.ctx))
	e.wantFault("create over a protected one", img.CreateSnapshot(e.ctx), fault.Exists, "")
	e.wantSnapshot(img, true, true)

	snap := e.openSnapshot("image")
	if snap.Size() != chunk+99 {
		e.Errorf("the snapshot has %d bytes, want %d", snap.Size(), chunk+99)
	}
	e.wantBytes(snap, chunk-2500, pattern(1, 2599))
	e.wantFault("read past the end", snap.ReadAt(e.ctx, make([]byte, 100), chunk), fault.Invalid, "")
	e.ok("close", snap.Close())

	e.ok("close", img.Close())
	img = e.open("image")
	e.wantSnapshot(img, true, true)
	e.ok("remove a protected one", img.RemoveSnapshot(e.ctx))
	e.wantSnapshot(img, false, false)
	_, err := e.pool.OpenSnapshot(e.ctx, e.name("image"))
	e.wantFault("open a removed snapshot", err, fault.NotFound, "")
}

func (e *env) wantSnapshot(img rbd.Image, exists, protected bool) {
	e.Helper()
	gotExists, gotProtected, err := img.SnapshotState(e.ctx)
	e.ok("snapshot state", err)
	if gotExists != exists || gotProtected != protected {
		e.Fatalf("snapshot exists %v and is protected %v, want %v and %v", gotExists, gotProtected, exists, protected)
	}
}

// testSnapshotFreezes checks that an image with a snapshot is not written, whichever handle is asked.
func testSnapshotFreezes(e *env) {
	img := e.create("image", chunk)
	e.write(img, pattern(1, 1000), 0)
	e.ok("create", img.CreateSnapshot(e.ctx))
	refused := func(img rbd.Image) {
		e.Helper()
		e.wantFault("write", img.WriteAt(e.ctx, pattern(2, 1000), 0), fault.Precondition, "")
		e.wantFault("zero", img.Zero(e.ctx, 0, 1000), fault.Precondition, "")
		e.wantFault("resize", img.Resize(e.ctx, 2*chunk), fault.Precondition, "")
	}
	refused(img)
	e.ok("set meta", img.SetMeta(e.ctx, "k", "v")) // metadata is not content
	e.ok("close", img.Close())
	img = e.open("image")
	refused(img)
	e.wantBytes(img, 0, pattern(1, 1000))
	e.ok("remove", img.RemoveSnapshot(e.ctx))
	e.write(img, pattern(3, 1000), 0)
	e.wantBytes(img, 0, pattern(3, 1000))
	e.ok("create", img.CreateSnapshot(e.ctx))
	e.wantBytes(e.openSnapshot("image"), 0, pattern(3, 1000))
}

func testMeta(e *env) {
	img := e.create("image", chunk)
	want := func(r interface {
		Meta(ctx context.Context, key string) (string, error)
	}, key, value string,
	) {
		e.Helper()
		got, err := r.Meta(e.ctx, key)
		if e.ok("meta", err); got != value {
			e.Fatalf("meta %q is %q, want %q", key, got, value)
		}
	}
	want(img, "atoll.content", "")
	long := strings.Repeat("0123456789abcdef", 256)
	for key, value := range map[string]string{"atoll.content": "one", "b": "zwei\nµ \"x\"", "long": long} {
		e.ok("set meta", img.SetMeta(e.ctx, key, value))
		want(img, key, value)
	}
	e.ok("set meta", img.SetMeta(e.ctx, "atoll.content", "two"))
	want(img, "atoll.content", "two")
	e.ok("set meta to nothing", img.SetMeta(e.ctx, "b", ""))
	want(img, "b", "")
	e.wantFault("set meta without a key", img.SetMeta(e.ctx, "", "x"), fault.Invalid, "")

	e.ok("create", img.CreateSnapshot(e.ctx))
	snap := e.openSnapshot("image")
	want(snap, "atoll.content", "two")
	want(snap, "long", long)
	want(snap, "none", "")
	e.ok("set meta", img.SetMeta(e.ctx, "atoll.manifest", "late"))
	want(e.openSnapshot("image"), "atoll.manifest", "late")
	e.ok("close", img.Close())
	want(e.open("image"), "atoll.content", "two")
}
