package client

import (
	"context"
	"errors"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// uploadPart is how many bytes one message of an upload carries.
const uploadPart = 1 << 20

// Upload sends r as the data of a queued image and blocks until the hub holds all of it; the stores may still be filling
// then, the returned operation tells. onSent, if not nil, is called after each message with the bytes sent so far.
// Cancelling ctx aborts the upload: the hub drops what it has and the image is queued again. A failure of r is Invalid
// with reason SOURCE_UNREADABLE.
func (c *Client) Upload(
	ctx context.Context, header *hubv1.UploadHeader, r io.Reader, onSent func(sent int64),
) (*hubv1.Operation, error) {
	// Ending the context releases the stream, and aborts the upload, on every way out.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.UploadImage(ctx)
	if err != nil {
		return nil, err
	}
	err = send(stream.Send, &hubv1.UploadImageRequest{Part: &hubv1.UploadImageRequest_Header{Header: header}},
		func(data []byte) *hubv1.UploadImageRequest {
			return &hubv1.UploadImageRequest{Part: &hubv1.UploadImageRequest_Data{Data: data}}
		}, r, onSent)
	if err != nil {
		return nil, err
	}
	res, err := stream.CloseAndRecv()
	return res.GetOperation(), err
}

// Stage is Upload into the staging area only: it returns the image, which then is uploading and can be imported into
// stores with ImportImageRequest.Staged.
func (c *Client) Stage(ctx context.Context, header *hubv1.StageHeader, r io.Reader, onSent func(sent int64)) (*hubv1.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Images.StageImage(ctx)
	if err != nil {
		return nil, err
	}
	err = send(stream.Send, &hubv1.StageImageRequest{Part: &hubv1.StageImageRequest_Header{Header: header}},
		func(data []byte) *hubv1.StageImageRequest {
			return &hubv1.StageImageRequest{Part: &hubv1.StageImageRequest_Data{Data: data}}
		}, r, onSent)
	if err != nil {
		return nil, err
	}
	res, err := stream.CloseAndRecv()
	return res.GetImage(), err
}

// send sends a header and then r in parts. It returns nil also when the hub has answered already: the answer tells why.
func send[M any](put func(M) error, header M, part func([]byte) M, r io.Reader, onSent func(sent int64)) error {
	more, err := sendOne(put, header)
	buf := make([]byte, uploadPart)
	for sent := int64(0); more && err == nil; {
		n, readErr := io.ReadFull(r, buf)
		if n > 0 {
			more, err = sendOne(put, part(buf[:n]))
			if sent += int64(n); more && onSent != nil {
				onSent(sent)
			}
		}
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF):
			more = false
		case readErr != nil:
			return fault.Wrap(readErr, fault.Invalid, "SOURCE_UNREADABLE", "the data to upload cannot be read")
		}
	}
	return err
}

// sendOne sends one message. more is false when the hub wants no more of them.
func sendOne[M any](put func(M) error, m M) (more bool, err error) {
	err = put(m)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}
