package importer

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// silent is a body that has sent data and then waits until it is interrupted.
type silent struct {
	from io.Reader
	stop chan struct{}
	once sync.Once
}

func newSilent(data []byte) *silent {
	return &silent{from: bytes.NewReader(data), stop: make(chan struct{})}
}

var errInterrupted = errors.New("interrupted")

func (s *silent) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err == nil {
		return n, nil
	}
	<-s.stop
	return 0, errInterrupted
}

func (s *silent) Interrupt() { s.once.Do(func() { close(s.stop) }) }

// whole is a body that has it all.
type whole struct{ io.Reader }

func (whole) Interrupt() {}

// running waits until one operation receives data and returns it.
func (b *bench) running(im *Importer, received int64) image.ID {
	b.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, o := range b.catalog.Read().Operations() {
			if catalog.Importing(o) && im.Progress(image.ID(o.Id)).Received >= received {
				return image.ID(o.Id)
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatal("no operation runs")
		}
	}
}

// Cancelling an upload ends it at once, also while its caller is silent.
func TestCancelSilentUpload(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*Importer, *bench, []byte) error{
		"store": func(im *Importer, b *bench, data []byte) error {
			_, err := im.Store(b.t.Context(), b.request(), newSilent(data))
			return err
		},
		"stage": func(im *Importer, b *bench, data []byte) error {
			_, err := im.Stage(b.t.Context(), b.request(), newSilent(data))
			return err
		},
		"messages": func(im *Importer, b *bench, data []byte) error {
			hang := make(chan struct{})
			b.t.Cleanup(func() { close(hang) }) // as when the handler of the request returns
			next := feed(data, io.EOF)
			_, err := im.Upload(b.t.Context(), b.request(), func() ([]byte, error) {
				part, err := next()
				if err != nil {
					<-hang
				}
				return part, err
			})
			return err
		},
	} {
		for _, sent := range []int{0, 1, manifest.ChunkSize, manifest.ChunkSize + 1} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				im := b.importer()
				ended := make(chan error, 1)
				go func() { ended <- begin(im, b, random(sent)) }()
				op := b.running(im, int64(sent/manifest.ChunkSize*manifest.ChunkSize))
				if err := b.catalog.Cancel(t.Context(), op); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ended:
					wantReason(t, err, fault.Cancelled, "IMPORT_CANCELLED")
				case <-time.After(time.Minute):
					t.Fatal("the upload still waits for its caller")
				}
				b.wantNothing()
			})
		}
	}
}

func TestStage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in, data := b.request(), random(5<<20)
	in.Method = MethodStage
	op, err := b.importer().Stage(t.Context(), in, whole{bytes.NewReader(data)})
	if err != nil || op.State != storev1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Fatalf("got %v, %v", op, err)
	}
	b.wantData(in.Image, data)
	if img, _ := b.catalog.Read().Image(in.Image); img.Status != storev1.ImageStatus_IMAGE_STATUS_UPLOADING || img.Content.VirtualSizeBytes != int64(len(data)) {
		t.Fatalf("got %v", img)
	}
	if _, err := b.importer().Stage(t.Context(), in, whole{bytes.NewReader(data)}); fault.ReasonOf(err) != "NOT_QUEUED" {
		t.Fatalf("got %v", err)
	}
}

// The end of a body that was cut is not the end of the data, whatever its length.
func TestCutBody(t *testing.T) {
	t.Parallel()
	for _, sent := range []int{0, 1, manifest.ChunkSize - 1, manifest.ChunkSize, manifest.ChunkSize + 1} {
		b := newBench(t)
		cut := io.MultiReader(bytes.NewReader(random(sent)), failing{io.ErrUnexpectedEOF})
		if _, err := b.importer().Store(t.Context(), b.request(), whole{cut}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d: got %v", sent, err)
		}
		b.wantNothing()
	}
	b := newBench(t)
	if _, err := b.importer().Store(t.Context(), b.request(), whole{failing{nil}}); !errors.Is(err, io.ErrNoProgress) {
		t.Fatalf("got %v", err)
	}
}

// failing is a reader that returns an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
