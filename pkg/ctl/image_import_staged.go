package ctl

import (
	"context"
	"fmt"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// importStaged fills stores from data that has been staged before.
func (r *importing) importStaged(ctx context.Context, idOrName, id string) error {
	if r.described || r.fields.name != "" || id != "" {
		return fault.BadField("--staged", "the image exists; change it with 'atollctl image update'")
	}
	sel, err := r.target.selection(ctx, r.cli)
	if err != nil {
		return err
	}
	if r.image, err = r.hub.FindImage(ctx, idOrName); err != nil {
		return err
	}
	res, err := r.hub.Images.ImportImage(ctx, &hubv1.ImportImageRequest{Id: r.image.GetId(), Staged: true, Target: sel, KeepFormat: r.keep})
	if err != nil {
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
