package scenarios

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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
