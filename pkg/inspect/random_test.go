package inspect

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

// Who can read anywhere finds what who reads everything finds.
func TestLook(t *testing.T) {
	t.Parallel()
	for i, data := range everything() {
		for _, end := range []int{len(data), len(data) - 1, len(data) / 2, 70000, 511} {
			data := data[:max(1, min(end, len(data)))]
			got, err := Look(bytes.NewReader(data), int64(len(data)))
			if want := look(data, 64<<10); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d, %d bytes: got %+v, %v, want %+v", i, len(data), got, err, want)
			}
		}
	}
}

// failing fails to read from an offset on.
type failing struct {
	io.ReaderAt
	from int64
}

var errRead = errors.New("read")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, errRead
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestLookFails(t *testing.T) {
	t.Parallel()
	data := vhdxImage(vhdxItemsOfDisk, nil)
	for _, from := range []int64{0, 1000, headSize, vhdxTable1, vhdxTable2 + 1, int64(len(data)) - 1} {
		if _, err := Look(failing{bytes.NewReader(data), from}, int64(len(data))); !errors.Is(err, errRead) {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if f, err := Look(bytes.NewReader(nil), 0); err != nil || f.Check("raw") != nil {
		t.Errorf("nothing: %+v, %v", f, err)
	}
}
