package ctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) replicaList() *cobra.Command {
	var img, store string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List copies and where they stand",
		Example: "  atollctl replica list --image debian-12\n  atollctl replica list --store dcn0",
		Args:    takes(),
		RunE: c.verb(func(ctx context.Context, _ []string) error {
			req := &hubv1.ListReplicasRequest{StoreId: store}
			if img != "" {
				found, err := c.imageID(ctx, img)
				if err != nil {
					return err
				}
				req.ImageId = found
			}
			replicas, err := collect(c.hub.AllReplicas(ctx, req))
			if err != nil {
				return err
			}
			header := []string{"IMAGE", "STORE", "SITE", "PHASE", "PRIORITY", "DONE", "RATE", "LEFT", "SINCE", "PROVEN", "REMARK"}
			return showList(c, "replicas", replicas, header, func(r *hubv1.Replica) []string {
				done := ""
				if p := r.GetProgress(); p.GetBytesTotal() > 0 && replicaMoves(r) {
					done = fmt.Sprintf("%d%%", percent(p.GetBytesDone(), p.GetBytesTotal()))
				}
				speed, left := "", ""
				if replicaMoves(r) {
					speed = rate(r.GetProgress().GetBytesPerSecond())
					if d := r.GetProgress().GetTimeLeft(); d != nil {
						left = span(d.AsDuration())
					}
				}
				return []string{
					r.GetImageId(), r.GetStoreId(), r.GetSiteId(), phaseWord(r.GetPhase()), priorityWord(r), done, speed, left,
					c.age(r.GetPhaseTime()), c.age(r.GetVerifyTime()), replicaRemark(r, c.env.Now()),
				}
			})
		}),
	}
	cmd.Flags().StringVar(&img, "image", "", "only copies of this image (id or name)")
	cmd.Flags().StringVar(&store, "store", "", "only copies in this store")
	c.completeFlag(cmd, "image", c.images)
	c.completeFlag(cmd, "store", c.stores)
	return cmd
}

// priorityWord says how a copy that is on its way stands against others: "awaited" when the hub has raised it by itself.
func priorityWord(r *hubv1.Replica) string {
	switch {
	case r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE, r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_DELETING:
		return ""
	case r.GetAwaitedTime() != nil:
		return "awaited"
	default:
		return word(r.GetPriority(), "PRIORITY_")
	}
}

// replicaMoves reports whether the copy has figures that change.
func replicaMoves(r *hubv1.Replica) bool {
	switch r.GetPhase() {
	case hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING, hubv1.ReplicaPhase_REPLICA_PHASE_VERIFYING:
		return true
	default:
		return false
	}
}

// replicaRemark returns what the phase alone does not say.
func replicaRemark(r *hubv1.Replica, now time.Time) string {
	if r.GetWaitingSince() == nil && r.GetReason() == "" {
		return ""
	}
	if r.GetPhase() == hubv1.ReplicaPhase_REPLICA_PHASE_FAILED {
		return r.GetMessage() + " [" + r.GetReason() + "]"
	}
	text, _ := replicaText(r, now)
	return text
}
