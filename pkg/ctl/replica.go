package ctl

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) replica() *cobra.Command {
	return noun("replica", groupImages, "Copies of images in stores",
		c.replicaList(), c.replicaShow(), c.replicaDelete(), c.replicaRetry(), c.replicaVerify())
}

// imageID returns the UUID of an image that is named by UUID or by a unique name. A UUID is taken as it is: the call that
// uses it says when there is no such image.
func (c *cli) imageID(ctx context.Context, idOrName string) (string, error) {
	if id, err := image.ParseID("image", strings.ToLower(idOrName)); err == nil {
		return string(id), nil
	}
	img, err := c.hub.FindImage(ctx, idOrName)
	return img.GetId(), err
}

// showReplica writes one copy.
func (c *cli) showReplica(r *hubv1.Replica) error {
	return c.show(r, func(l *lines) {
		l.add("image", r.GetImageId())
		l.add("store", r.GetStoreId())
		l.add("site", r.GetSiteId())
		l.add("phase", phaseWord(r.GetPhase()))
		l.add("since", c.when(r.GetPhaseTime()))
		if w := priorityWord(r); w != "" {
			l.add("priority", w)
		}
		if r.GetAwaitedTime() != nil {
			l.add("awaited since", c.when(r.GetAwaitedTime()))
		}
		if replicaMoves(r) || r.GetWaitingSince() != nil {
			l.add("status", strings.TrimPrefix(replicaRow("", r, c.env.Now()).plain(), ": "))
		}
		if r.GetReason() != "" {
			l.add("reason", r.GetMessage()+" ["+r.GetReason()+"]")
			l.add("retryable", yesNo(r.GetRetryable()))
		}
		l.add("failed attempts", fmt.Sprint(r.GetAttempts()))
		l.add("next attempt", c.when(r.GetNextAttemptTime()))
		l.add("requested", c.when(r.GetCreateTime()))
		if p := r.GetProgress(); p != nil {
			l.add("written", amount(p.GetBytesDone(), p.GetBytesTotal()))
			l.add("received", size(p.GetBytesReceived()))
			if n := p.GetBytesSaved(); n > 0 {
				l.add("saved", size(n))
			}
			l.add("resumed", size(p.GetBytesResumed()))
			l.add("chunks repaired", fmt.Sprint(p.GetChunksRepaired()))
		}
		if b := r.GetBase(); b != nil {
			l.add("made of", madeOf(b))
		}
		l.add("location", r.GetLocation())
		l.add("proven", c.when(r.GetVerifyTime()))
		if r.GetVerifying() {
			l.add("verification", "under way")
		}
		if r.GetVerifyMessage() != "" {
			l.add("not verified", r.GetVerifyMessage())
		}
		if n := r.GetChunksDamaged(); n > 0 {
			l.add("chunks damaged", fmt.Sprint(n))
		}
		if r.GetWaitingSince() != nil {
			l.add("waiting since", c.when(r.GetWaitingSince()))
		}
	})
}

// madeOf names the base of a copy and says why it was chosen.
func madeOf(b *hubv1.Base) string {
	why := map[hubv1.BaseReason]string{
		hubv1.BaseReason_BASE_REASON_EXPLICIT: "named by " + image.PropertyBase,
		hubv1.BaseReason_BASE_REASON_LINEAGE:  "by its name or system",
		hubv1.BaseReason_BASE_REASON_CONTENT:  "by its data",
	}[b.GetReason()]
	if b.Percent != nil {
		why = strings.TrimPrefix(fmt.Sprintf("%s, %d%% alike", why, b.GetPercent()), ", ")
	}
	if why == "" {
		return b.GetImageId()
	}
	return b.GetImageId() + " (" + why + ")"
}

// showReplicaOf writes the copy that an operation was about.
func (c *cli) showReplicaOf(ctx context.Context, imageID, store string) error {
	res, err := c.hub.Replicas.GetReplica(ctx, &hubv1.GetReplicaRequest{ImageId: imageID, StoreId: store})
	if err != nil {
		return err
	}
	return c.showReplica(res.GetReplica())
}
