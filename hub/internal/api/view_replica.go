package api

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// replicaMessage converts a record into what the caller may see of it and adds live figures. nil stays nil.
func (v *view) replicaMessage(c *auth.Caller, r *storev1.Replica) *hubv1.Replica {
	if r == nil {
		return nil
	}
	m := &hubv1.Replica{
		ImageId: r.ImageId, StoreId: r.StoreId, SiteId: r.SiteId, Phase: hubv1.ReplicaPhase(r.Phase),
		Reason: r.Reason, Message: r.Message, Retryable: r.Retryable, Attempts: r.Attempts, NextAttemptTime: r.NextAttemptTime,
		PhaseTime: r.PhaseTime, CreateTime: r.CreateTime, Location: r.Location, VerifyTime: r.VerifyTime,
		Verifying: r.VerifyGeneration > r.VerifiedGeneration, VerifyMessage: r.VerifyMessage, ChunksDamaged: r.ChunksDamaged,
		Priority: hubv1.Priority(r.Priority), AwaitedTime: r.AwaitedTime,
	}
	img, _ := v.read().Image(image.ID(r.ImageId))
	if img.GetStatus() != storev1.ImageStatus_IMAGE_STATUS_ACTIVE || r.Location != "" && !v.seesLocations(c, image.ID(r.ImageId)) {
		m.Location = ""
	}
	if r.BaseImageId != "" && v.sees(c, v.Images.Image(image.ID(r.BaseImageId))) {
		m.Base = &hubv1.Base{ImageId: r.BaseImageId, Reason: hubv1.BaseReason(r.BaseReason), Percent: r.BasePercent}
	}
	v.addWait(m, r)
	v.addProgress(m, r, img)
	return m
}

// addWait says for whom an unfinished replica waits.
func (v *view) addWait(m *hubv1.Replica, r *storev1.Replica) {
	if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
		return
	}
	site := v.Directory.Site(image.SiteID(r.SiteId))
	if site.Connected {
		return
	}
	m.WaitingSince = v.lastSeen(image.SiteID(r.SiteId), site.Since)
	if m.Reason == "" {
		m.Reason = "WAITING_FOR_SITE"
		m.Message = fmt.Sprintf("waiting for site %s, offline since %s", r.SiteId, m.WaitingSince.AsTime().Format("2006-01-02 15:04:05 MST"))
	}
}

// lastSeen returns when a disconnected site was last there, as well as the hub knows.
func (v *view) lastSeen(id image.SiteID, fallback time.Time) *timestamppb.Timestamp {
	if s, _ := v.read().Site(id); s != nil {
		if s.LastSeenTime != nil {
			return s.LastSeenTime
		}
		return s.CreateTime
	}
	return timestamppb.New(fallback)
}

// addProgress fills in the figures of a running transfer, or those of a finished one.
func (v *view) addProgress(m *hubv1.Replica, r *storev1.Replica, img *storev1.Image) {
	size := img.GetContent().GetSizeBytes()
	if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE {
		m.Progress = &hubv1.Progress{BytesDone: size, BytesTotal: size}
	}
	t, ok := v.Directory.Transfer(image.SiteID(r.SiteId), image.ID(r.ImageId), image.StoreID(r.StoreId))
	if !ok || t.Generation != r.Generation {
		if m.Progress == nil && size > 0 {
			m.Progress = &hubv1.Progress{BytesTotal: size}
		}
		return
	}
	m.Progress = &hubv1.Progress{
		BytesDone: t.Done, BytesTotal: max(t.Total, size), BytesReceived: t.Received, BytesResumed: t.Resumed, BytesSaved: t.Saved,
		ChunksRepaired: t.Repaired,
	}
	switch {
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		m.Progress.BytesDone = m.Progress.BytesTotal
	case t.Filling && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING:
		m.Progress.BytesPerSecond = t.Rate
		if t.Left > 0 && m.WaitingSince == nil && r.Reason == "" {
			m.Progress.TimeLeft = durationpb.New(t.Left)
		}
	}
}
