package scenarios

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// A site that has the first version of an image is sent what is new in the second one: by its name, or by the property that
// says which image it is made of.
func TestSecondVersion(t *testing.T) {
	l := lab.New(t)
	reconfigure(l, "dcn0", lab.Options{"compact": "always"})
	data, _ := lab.Data(160<<20, 64)
	first := l.Import(data, "central", "dcn0")
	next := slices.Concat(bytes.Repeat([]byte("everything has moved"), 128), data, bytes.Repeat([]byte("new!"), 1<<18))
	h := sha256.Sum256(next)
	sum := hex.EncodeToString(h[:])

	fresh := l.Import(data[:8<<20], "dcn0") // of the same name, newer, and no use for most of it
	for _, c := range []struct{ name, base string }{{"by the property", first}, {"by a wrong property", fresh}, {"by its name", ""}} {
		name, base := c.name, c.base
		id := l.Create(t.Name())
		if base != "" {
			img := &hubv1.Image{Id: id, Properties: map[string]string{"atoll_base": base}}
			mask := &fieldmaskpb.FieldMask{Paths: []string{"properties"}}
			if _, err := l.Client.Images.UpdateImage(t.Context(), &hubv1.UpdateImageRequest{Image: img, UpdateMask: mask}); err != nil {
				t.Fatal(err)
			}
		}
		op, err := l.Client.Upload(t.Context(), &hubv1.UploadHeader{
			Id: id, SizeBytes: int64(len(next)), Target: lab.Select("central", "dcn0"),
		}, bytes.NewReader(next), nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Succeeds(op)
		if got := l.Sum("dcn0", id); got != sum {
			t.Errorf("%s: dcn0 holds %s, want %s", name, got, sum)
		}
		p := l.Replica(id, "dcn0").Progress
		t.Logf("%s: %d KiB received, %d KiB saved", name, p.BytesReceived>>10, p.BytesSaved>>10)
		if base == first && (p.BytesReceived > 1<<20 || p.BytesSaved < 60<<20) {
			t.Errorf("%s: %d bytes were received and %d saved", name, p.BytesReceived, p.BytesSaved)
		}
	}
}

// Nothing is said of an image: its base is found by its data, among those that are at the site, and costs as few bytes as the one
// that a property names. One of the same name that is unlike it is not used.
func TestBaseByContent(t *testing.T) {
	l := lab.New(t)
	reconfigure(l, "dcn0", lab.Options{"compact": "always"})
	next := func(data []byte) []byte { // everything has moved by some blocks
		return slices.Concat(bytes.Repeat([]byte("block of 16 byte"), 5*256), data, bytes.Repeat([]byte("new!"), 1<<18))
	}
	named, _ := lab.Data(160<<20, 64)
	found, _ := lab.Data(160<<20, 60)
	firsts := map[string]string{"named": l.Import(named, "central", "dcn0"), "found": l.Import(found, "central", "dcn0")}

	received := map[string]int64{}
	for _, c := range []struct {
		name, image string
		data        []byte
		reason      hubv1.BaseReason
	}{
		{"named", t.Name(), next(named), hubv1.BaseReason_BASE_REASON_EXPLICIT},
		{"found", "another name", next(found), hubv1.BaseReason_BASE_REASON_CONTENT},
		{"misnamed", t.Name(), next(found), hubv1.BaseReason_BASE_REASON_CONTENT}, // the newest of this name is the first of these
	} {
		id := l.Create(c.image)
		if c.name == "named" {
			img := &hubv1.Image{Id: id, Properties: map[string]string{"atoll_base": firsts[c.name]}}
			mask := &fieldmaskpb.FieldMask{Paths: []string{"properties"}}
			if _, err := l.Client.Images.UpdateImage(t.Context(), &hubv1.UpdateImageRequest{Image: img, UpdateMask: mask}); err != nil {
				t.Fatal(err)
			}
		}
		op, err := l.Client.Upload(t.Context(), &hubv1.UploadHeader{
			Id: id, SizeBytes: int64(len(c.data)), Target: lab.Select("central"),
		}, bytes.NewReader(c.data), nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Succeeds(op)
		l.Succeeds(l.MustCopy(id, "dcn0"))
		h := sha256.Sum256(c.data)
		if got := l.Sum("dcn0", id); got != hex.EncodeToString(h[:]) {
			t.Errorf("%s: dcn0 holds %s", c.name, got)
		}
		r := l.Replica(id, "dcn0")
		t.Logf("%s: %d KiB received, %d KiB saved, base %v", c.name, r.Progress.BytesReceived>>10, r.Progress.BytesSaved>>10, r.Base)
		if r.Base.GetImageId() != firsts[c.name] || r.Base.GetReason() != c.reason || r.Base.GetPercent() < 90 {
			t.Errorf("%s: base %v, want %s", c.name, r.Base, firsts[c.name])
		}
		received[c.name], firsts["misnamed"] = r.Progress.BytesReceived, id
	}
	if n, f := received["named"], received["found"]; f > 1<<20 || f > n+n/10 {
		t.Errorf("%d bytes with a base that is named, %d with one that is found", n, f)
	}
}

// A copy that is filled while the image still arrives gets its base when the image has come; only what has been sent by then, or was
// on its way, comes as it is.
func TestBaseOfAnImport(t *testing.T) {
	t.Parallel()
	l := throttled{lab.NewHubs(t, 1, false)}
	data, _ := lab.Data(192<<20, 160)
	first := l.Import(data, "central", "dcn0")
	l.ctl("site", "limit", "dcn0", "--rate", "64KiB/s") // a frame takes a minute
	id := l.Create("another name")
	whole := slices.Concat(data, bytes.Repeat([]byte("new!"), 1<<18))
	op, err := l.Client.Upload(t.Context(), &hubv1.UploadHeader{
		Id: id, SizeBytes: int64(len(whole)), Target: lab.Select("central", "dcn0"),
	}, bytes.NewReader(whole), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.WaitReplica(id, "dcn0", "has a base", func(r *hubv1.Replica) bool { return r.GetBase() != nil })
	l.ctl("site", "limit", "dcn0", "--rate", "16MiB/s")
	l.Succeeds(op)
	got, err := os.ReadFile(filepath.Join(l.Store("dcn0"), id, "data"))
	if err != nil || !bytes.Equal(got, whole) {
		t.Errorf("the copy differs: %d bytes, %v", len(got), err)
	}
	const under = 100 << 20 // of 160: eight chunks were on their way, and as many may be asked for until the link is seen to be slow
	r := l.Replica(id, "dcn0")
	t.Logf("%d KiB received, %d KiB saved, base %v", r.Progress.BytesReceived>>10, r.Progress.BytesSaved>>10, r.Base)
	if r.Base.GetImageId() != first || r.Base.GetReason() != hubv1.BaseReason_BASE_REASON_CONTENT || r.Progress.BytesReceived > under {
		t.Errorf("%d bytes were received: %v", r.Progress.BytesReceived, r.Base)
	}
}
