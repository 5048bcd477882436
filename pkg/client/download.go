package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Download writes the data of an active image to w in order and returns how many bytes it wrote. onDone, if not nil, is
// called after each write with the bytes so far and the length of the image. A stream that ends early is Corrupt.
// Nothing is written after ctx has ended. Errors of w are returned wrapped.
func (c *Client) Download(ctx context.Context, id string, w io.Writer, onDone func(done, total int64)) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.DownloadImage(ctx, &hubv1.DownloadImageRequest{Id: id})
	if err != nil {
		return 0, err
	}
	var done, total int64
	for first := true; ; first = false {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return done, err
		}
		if first {
			total = m.GetSizeBytes()
		}
		if len(m.GetData()) == 0 {
			continue
		}
		n, err := w.Write(m.GetData())
		done += int64(n)
		if err != nil {
			return done, fmt.Errorf("writing what was downloaded: %w", err)
		}
		if onDone != nil {
			onDone(done, total)
		}
	}
	if done != total {
		return done, fault.New(fault.Corrupt, "SHORT_DOWNLOAD", "the hub sent %d bytes of %d", done, total)
	}
	return done, nil
}
