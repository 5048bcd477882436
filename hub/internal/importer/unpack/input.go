package unpack

import (
	"context"
	"io"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// input is the compressed data on its way to a decompressor.
type input struct {
	ctx  context.Context
	r    io.Reader
	left int64 // bytes that may still come
	any  bool  // some came
	err  error // the first error, if it is not io.EOF: decompressors hide what they are told
}

// Read reads some of the data.
func (i *input) Read(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	n, err := i.read(p)
	if n > 0 {
		i.any = true
		if i.left -= int64(n); i.left < 0 {
			n, err = 0, fault.New(fault.Exhausted, convert.ReasonTooLarge, "the image is larger than the limit, even compressed")
		}
	}
	if err != nil && err != io.EOF { //nolint:errorlint // an EOF inside another error tells of a source that broke
		i.err = err
	}
	return n, err
}

// read does not answer "nothing, go on", which some decompressors would ask for ever.
func (i *input) read(p []byte) (int, error) {
	for range idleReads {
		if i.ctx.Err() != nil {
			return 0, context.Cause(i.ctx)
		}
		if n, err := i.r.Read(p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
