package importer

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// qcow2 returns an image of 5 MiB of a disk of a size; change is made to its header.
func qcow2Data(size uint64, change func(p []byte)) []byte {
	p := make([]byte, 5<<20)
	copy(p, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(p[4:], 3)
	be.PutUint32(p[20:], 16)
	be.PutUint64(p[24:], size)
	be.PutUint32(p[100:], 104)
	if change != nil {
		change(p)
	}
	return p
}

func backed(p []byte) { copy(p[8:], []byte{0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 11}) }

// Data is looked at on its way in, by whatever way it comes. What is refused leaves nothing.
func TestInspection(t *testing.T) {
	t.Parallel()
	noise := random(5 << 20)
	tests := map[string]struct {
		disk, container string
		data            []byte
		lenient         bool
		virtual         int64  // 0: unknown
		reason          string // empty: accepted
	}{
		"raw":                    {"raw", "bare", noise, false, 5 << 20, ""},
		"qcow2":                  {"qcow2", "bare", qcow2Data(7<<20, nil), false, 7 << 20, ""},
		"qcow2 said to be raw":   {"raw", "bare", qcow2Data(7<<20, nil), false, 0, "FORMAT_MISMATCH"},
		"qcow2, lenient":         {"raw", "bare", qcow2Data(7<<20, nil), true, 5 << 20, ""},
		"noise said to be qcow2": {"qcow2", "bare", noise, false, 0, "FORMAT_MISMATCH"},
		"noise, lenient":         {"qcow2", "bare", noise, true, 0, ""},
		"noise said to be a vhd": {"vhd", "bare", noise, false, 0, "FORMAT_MISMATCH"},
		"backing file":           {"qcow2", "bare", qcow2Data(7<<20, backed), false, 0, "FORMAT_UNSAFE"},
		"backing file, lenient":  {"qcow2", "bare", qcow2Data(7<<20, backed), true, 0, "FORMAT_UNSAFE"},
		"backing file, as raw":   {"raw", "bare", qcow2Data(7<<20, backed), true, 0, "FORMAT_UNSAFE"},
		"CVE-2013-2096 larger disk than allowed in small data": {"qcow2", "bare", qcow2Data(11<<20, nil), false, 0, "IMAGE_TOO_LARGE"},
		"short":                   {"qcow2", "bare", []byte("QFI\xfb"), false, 0, "FORMAT_UNSAFE"},
		"kernel":                  {"aki", "bare", noise, false, 0, ""},
		"other containers":        {"vmdk", "ova", noise, false, 0, ""},
		"raw in other containers": {"raw", "compressed", qcow2Data(7<<20, backed), false, 5 << 20, ""},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, staged := range []bool{false, true} {
				b := newBench(t)
				im := b.importer()
				im.Lenient = c.lenient
				img, err := b.catalog.CreateImage(t.Context(), catalog.NewImage{DiskFormat: c.disk, ContainerFormat: c.container})
				if err != nil {
					t.Fatal(err)
				}
				in := catalog.Import{Image: image.ID(img.Id), Target: catalog.Target{All: true}, KeepFormat: true}
				take := im.Upload
				if staged {
					take = im.StageMessages
				}
				_, err = take(t.Context(), in, feed(c.data, io.EOF))
				if c.reason == "" {
					if err != nil {
						t.Fatal(err)
					}
					b.wantData(in.Image, c.data)
					if now, _ := b.catalog.Read().Image(in.Image); now.Content.VirtualSizeBytes != c.virtual {
						t.Fatalf("a disk of %d bytes", now.Content.VirtualSizeBytes)
					}
					continue
				}
				if fault.ReasonOf(err) != c.reason {
					t.Fatalf("got %v", err)
				}
				o := b.catalog.Read().Operations()[0]
				if o.Undoing != storev1.OperationState_OPERATION_STATE_FAILED || o.Error.GetReason() != c.reason {
					t.Fatalf("got %v", o)
				}
				b.wantNothing()
			}
		})
	}
}

// Nobody has to send the rest of data that is refused for its beginning.
func TestInspectionStopsEarly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	read := 0
	endless := whole{io.MultiReader(bytes.NewReader(qcow2Data(1<<20, backed)), counting{&read})}
	_, err := b.importer().Store(t.Context(), b.request(), endless)
	wantReason(t, err, fault.Invalid, "FORMAT_UNSAFE")
	if read > 0 {
		t.Fatalf("%d more bytes were read", read)
	}
}

// counting yields zeros for ever and counts them.
type counting struct{ n *int }

func (c counting) Read(p []byte) (int, error) {
	clear(p)
	*c.n += len(p)
	return len(p), nil
}
