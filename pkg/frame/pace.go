package frame

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Pacer decides when frames may move between the server and who asks.
type Pacer interface {
	// Begin waits for the turn of one frame of a content; what ctx carries tells who asks. A nil turn lets the frame move as fast as it
	// can. It blocks at most until ctx ends; errors are fault errors.
	Begin(ctx context.Context, content image.ID) (Turn, error)
}

// Turn lets one frame move.
type Turn interface {
	// Take waits until some of the next left bytes may move, at least one, and returns how many. An error means that the frame
	// must be given up. It blocks at most until ctx ends.
	Take(ctx context.Context, left int64) (int64, error)
	// End is called once when the frame has moved or has been given up.
	End()
}

// begin waits for the turn of a frame; nil when it needs none.
func (h *handler) begin(ctx context.Context, content image.ID) (Turn, error) {
	if h.o.Pacer == nil {
		return nil, nil
	}
	return h.o.Pacer.Begin(ctx, content)
}

// send writes size bytes of a frame as its turn, which may be nil, allows. Each piece has Stall to get through.
func (h *handler) send(ctx context.Context, w http.ResponseWriter, turn Turn, file io.Reader, size int64) (sent int64, err error) {
	control := http.NewResponseController(w)
	if turn == nil {
		_ = control.SetWriteDeadline(time.Now().Add(h.o.Stall))
		// io.Copy hands the file itself to the connection, which without TLS sends it from the page cache.
		return io.Copy(w, file)
	}
	for sent < size {
		n, err := turn.Take(ctx, size-sent)
		if err != nil {
			return sent, err
		}
		_ = control.SetWriteDeadline(time.Now().Add(h.o.Stall))
		copied, err := io.CopyN(w, file, n)
		if sent += copied; err != nil {
			return sent, err
		}
		if sent < size && n < size {
			_ = control.Flush() // what is in the buffer must not wait for the next piece
		}
	}
	return sent, nil
}

// receive reads a whole frame as its turn, which may be nil, allows. Each piece has Stall to come.
func (h *handler) receive(ctx context.Context, w http.ResponseWriter, turn Turn, body io.Reader, frame []byte) error {
	control := http.NewResponseController(w)
	for len(frame) > 0 {
		n := int64(len(frame))
		if turn != nil {
			var err error
			if n, err = turn.Take(ctx, n); err != nil {
				return err
			}
		}
		_ = control.SetReadDeadline(time.Now().Add(h.o.Stall))
		if _, err := io.ReadFull(body, frame[:n]); err != nil {
			return fault.Wrap(err, fault.Unavailable, "FRAME_CUT", "the frame ended early")
		}
		frame = frame[n:]
	}
	return nil
}
