package glance

import (
	"context"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	lookEvery = 250 * time.Millisecond // progress is not a record: it is looked at
	// undoWait bounds how long the answer to a failed upload waits until the image can be used again.
	undoWait = 5 * time.Second
)

// await blocks until look says that it is done, at most for the time bound since the progress that look reports has last
// risen. It returns false when the time has passed or ctx has ended.
func (s *Server) await(ctx context.Context, bound time.Duration, look func() (done bool, progress int64)) bool {
	sub := s.Catalog.Subscribe()
	defer sub.Close()
	limit := time.NewTimer(bound)
	defer limit.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for last, late := int64(0), false; ; {
		done, progress := look()
		switch {
		case done:
			return true
		case progress > last:
			last, late = progress, false
			limit.Reset(bound)
		case late:
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-limit.C: // what has happened meanwhile counts, however late this is
			late = true
		case <-tick.C:
		case <-sub.C():
			sub.Take()
		}
	}
}

// awaitUndone waits a little until an upload that failed has been undone, so that the image can be used again when the
// caller reads the answer. ctx may have ended: that a client is not waited for any more ends the context of its request.
func (s *Server) awaitUndone(ctx context.Context, id image.ID) {
	s.await(context.WithoutCancel(ctx), s.undoWait, func() (bool, int64) {
		ops, _ := s.Catalog.Read().ImageOperations(id)
		for _, o := range ops {
			if o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT || o.Kind == storev1.OperationKind_OPERATION_KIND_STAGE {
				return false, 0
			}
		}
		return true, 0
	})
}

// gone reports whether users no longer see the image.
func gone(img *storev1.Image) bool { return !visible(img) }
