package importer

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/trust"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// forgetful has certificates only for callers who are there.
type forgetful struct{}

func (forgetful) Prepare(context.Context, *auth.Caller, map[string]string) (trust.Check, error) {
	return nil, fault.New(fault.Precondition, trust.ReasonNotKept, "the caller is gone")
}

// An import that cannot begin again after a restart fails with the reason, whatever its class.
func TestRestartWithoutCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.request()
	in.URI = "http://127.0.0.1:9/image"
	op, err := b.importer().Enqueue(t.Context(), in, nil) // this life never runs
	if err != nil {
		t.Fatal(err)
	}
	im := b.importer()
	im.Signatures = forgetful{}
	b.run(im)
	if o := b.settled(op.Id); o.Error.GetReason() != trust.ReasonNotKept {
		t.Fatalf("got %v", o)
	}
}

// Staged data that was converted by an import whose stores failed is not compared again with the signature of what it was
// made of.
func TestSignedDataIsImportedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	im := b.importer()
	im.Signatures = signatures{[]byte("of the source")}
	in := b.image("raw")
	if _, err := im.StageMessages(t.Context(), in, feed([]byte("converted"), io.EOF)); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*storev1.Image)) {
		old, rev := b.records.Image(in.Image)
		img := proto.CloneOf(old)
		f(img)
		if err := b.records.Commit(t.Context(), catalog.Write{Key: catalog.ImageKey(in.Image), Value: img, Revision: rev}); err != nil {
			t.Fatal(err)
		}
	}
	change(func(img *storev1.Image) {
		img.Origin, img.Signature = &storev1.Origin{DiskFormat: "qcow2"}, &storev1.Signature{KeyType: "RSA-PSS"}
	})
	op, err := im.ImportStaged(t.Context(), catalog.Import{Image: in.Image, Target: in.Target})
	if err != nil || !op.Source.Complete {
		t.Fatalf("got %v, %v", op, err)
	}
	if img, _ := b.catalog.Read().Image(in.Image); img.Signature.GetKeyType() != "RSA-PSS" || img.Origin.GetDiskFormat() != "qcow2" {
		t.Errorf("got %v", img)
	}
}

// A project has half of the conversions, and others have the rest.
func TestConversionsAreShared(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	im := b.importer()
	taken := func(project string, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := &conversion{flow: &flow{im: im, ctx: ctx, a: &arrival{project: project}}, begun: make(chan struct{}), whole: make(chan struct{})}
		c.s.treat.disk = "vmdk"
		close(c.whole)
		return c.make(nil)
	}
	for range 2 {
		if _, err := im.converting.Take(t.Context(), "p1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := taken("p1", 5*time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third one of the same project: %v", err)
	}
	if err := taken("p2", time.Minute); fault.ReasonOf(err) != ReasonEmpty { // it had its turn
		t.Errorf("another project: %v", err)
	}
}

// A content whose only copy is away does not keep others from being hashed, and is tried again.
func TestHashingDoesNotWaitForOneImage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	im := b.importer()
	im.patience = 15 * time.Second
	away, here := uploaded(b, im, "raw", random(manifest.ChunkSize)), uploaded(b, im, "raw", random(manifest.ChunkSize))
	for _, id := range []image.ID{away, here} {
		old, rev := b.records.Image(id)
		img := proto.CloneOf(old)
		img.Content.Md5, img.Content.Sha512 = "", ""
		img.Status = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
		if err := b.records.Commit(t.Context(), catalog.Write{Key: catalog.ImageKey(id), Value: img, Revision: rev}); err != nil {
			t.Fatal(err)
		}
	}
	img, _ := b.records.Image(away)
	content := image.ID(img.Content.Id)
	m, _, err := b.area.Manifest(content)
	if err != nil {
		t.Fatal(err)
	}
	kept := &manifest.Manifest{Length: m.Length, Chunks: m.Chunks}
	b.area.Forget(content)
	if err := b.area.Adopt(t.Context(), content, kept); err != nil { // the manifest without the frames
		t.Fatal(err)
	}
	left, later := map[image.ID]bool{away: true, here: true}, map[image.ID]bool{}
	im.hashAll(t.Context(), left, later)
	if len(left) != 0 || len(later) != 1 || !later[away] {
		t.Errorf("left %v, for later %v", left, later)
	}
	if img, _ := b.records.Image(here); img.Content.Md5 == "" {
		t.Errorf("got %v", img)
	}
}
