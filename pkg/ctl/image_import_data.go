package ctl

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// discardTimeout bounds the removal of a record whose import has failed.
const discardTimeout = 15 * time.Second

// sourceTimeout bounds the start of an import from a URL: the hub first asks the source, which may be slow.
const sourceTimeout = 2 * time.Minute

// importURL makes the hub fetch the data.
func (r *importing) importURL(ctx context.Context, sel *hubv1.StoreSelection) error {
	asking, stop := context.WithTimeout(ctx, sourceTimeout)
	res, err := r.hub.Images.ImportImage(asking, &hubv1.ImportImageRequest{
		Id: r.image.GetId(), Uri: r.from.uri, Target: sel, Checksum: r.expected.String(), KeepFormat: r.keep,
	})
	stop()
	if err != nil {
		r.discard(ctx)
		return err
	}
	if !r.wait {
		return r.started(res.GetOperation())
	}
	_, _ = fmt.Fprintf(r.env.Stderr, "image %s, operation %s\n", r.image.GetId(), res.GetOperation().GetId())
	p := r.newProgress()
	op, err := r.follow(ctx, res.GetOperation(), p)
	p.close()
	if err != nil {
		return err
	}
	return r.ended(ctx, op)
}

// upload sends the data and then waits for the stores.
func (r *importing) upload(ctx context.Context, sel *hubv1.StoreSelection) error {
	_, _ = fmt.Fprintf(r.env.Stderr, "image %s\n", r.image.GetId())
	p := r.newProgress()
	op, err := r.send(ctx, sel, p)
	if err != nil {
		p.close()
		r.discard(ctx)
		if ctx.Err() != nil || fault.ReasonOf(err) == "UNREACHABLE" {
			return &left{cause: err, text: why(err) + "; the upload was aborted and nothing of it is kept"}
		}
		return err
	}
	if !r.wait {
		p.close()
		return r.started(op)
	}
	op, err = r.follow(ctx, op, p)
	p.close()
	if err != nil {
		return err
	}
	return r.ended(ctx, op)
}

// send uploads. Meanwhile it watches the operation that the hub has started for it: the stores fill while data still
// arrives. When the connection breaks after the last byte, the hub may have everything and only its answer was lost;
// then the operation tells.
func (r *importing) send(ctx context.Context, sel *hubv1.StoreSelection, p *progress) (*hubv1.Operation, error) {
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if op := r.findOperation(watching); op != nil {
			_, _ = r.hub.FollowOperation(watching, op.GetId(), client.Follower{Update: p.update})
		}
	})
	p.bytes("source", "sending", 0, r.from.size)
	op, err := r.hub.Upload(ctx,
		&hubv1.UploadHeader{Id: r.image.GetId(), SizeBytes: r.from.size, Target: sel, KeepFormat: r.keep}, r.from.data,
		func(sent int64) { p.bytes("source", "sending", sent, r.from.size) })
	stop()
	watch.Wait()
	if err == nil {
		p.uploaded()
	}
	if cause := errors.Unwrap(err); cause != nil && fault.ReasonOf(err) == "SOURCE_UNREADABLE" {
		return nil, unreadable(r.from.name, cause)
	}
	if r.from.ends && ctx.Err() == nil && (fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout)) {
		p.lost(err)
		searching, stop := context.WithTimeout(ctx, discardTimeout)
		defer stop()
		if op := r.findOperation(searching); op != nil {
			p.uploaded()
			return op, nil
		}
	}
	return op, err
}

// findOperation asks for the newest operation of the image until there is one that has not failed; nil when ctx ends
// first.
func (r *importing) findOperation(ctx context.Context) *hubv1.Operation {
	waits := retry.Policy{Initial: 200 * time.Millisecond, Max: 2 * time.Second}.Backoff()
	for waits.Wait(ctx) == nil {
		res, err := r.hub.Operations.ListOperations(ctx, &hubv1.ListOperationsRequest{ImageId: r.image.GetId(), PageSize: 1})
		if err != nil || len(res.GetOperations()) == 0 {
			continue
		}
		switch op := res.GetOperations()[0]; op.GetState() {
		case hubv1.OperationState_OPERATION_STATE_RUNNING, hubv1.OperationState_OPERATION_STATE_SUCCEEDED:
			return op
		default: // an earlier attempt
		}
	}
	return nil
}

// ended shows what became of the import. When no store is to blame, the data could not be brought in and the record that
// was made for it goes away; else the image is queued again and can be imported into.
func (r *importing) ended(ctx context.Context, op *hubv1.Operation) error {
	err := r.outcome(op, func(op *hubv1.Operation) error { return r.showImageOf(ctx, op) })
	failed, ok := err.(*opError) //nolint:errorlint // outcome returns it unwrapped
	if !ok || op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
		return err
	}
	res, getErr := r.hub.Images.GetImage(ctx, &hubv1.GetImageRequest{Id: r.image.GetId()})
	switch img := res.GetImage(); {
	case getErr == nil && r.staged && img.GetStatus() == hubv1.ImageStatus_IMAGE_STATUS_UPLOADING:
		failed.hints = append(failed.hints, "the data is still staged; repeat with: "+r.hint("image import --staged "+img.GetId()))
	case getErr != nil || img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_QUEUED:
	case len(img.GetFailedImport()) == 0:
		r.discard(ctx)
	default:
		failed.hints = append(failed.hints, "image "+img.GetId()+" is queued again; repeat the import with --id "+img.GetId())
	}
	return err
}

// discard removes the record that this run has created, also after an interruption. A hub that restarts is waited for, but
// not for long.
func (r *importing) discard(ctx context.Context) {
	if !r.created {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	told := sync.OnceFunc(func() {
		_, _ = fmt.Fprintln(r.env.Stderr, "the hub does not answer, trying again to remove the record of the image")
	})
	err := retry.Do(ctx, retry.Policy{Initial: 200 * time.Millisecond, Max: 2 * time.Second}, r.deleteRecord,
		func(error, time.Duration) { told() })
	if err != nil && !fault.Is(err, fault.NotFound) {
		_, _ = fmt.Fprintf(r.env.Stderr, "note: the record of the image could not be removed; remove it with: %s\n",
			r.hint("image delete "+r.image.GetId()))
	}
}

func (r *importing) deleteRecord(ctx context.Context) error {
	res, err := r.hub.Images.DeleteImage(ctx, &hubv1.DeleteImageRequest{Id: r.image.GetId()})
	if err != nil {
		return err
	}
	op, err := r.hub.FollowOperation(ctx, res.GetOperation().GetId(), client.Follower{})
	if err != nil {
		return err
	}
	if failure := failureOf(op); failure != nil {
		return failure
	}
	return nil
}
