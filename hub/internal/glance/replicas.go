package glance

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// replica is how far the copy in one store is.
type replica struct {
	Store          string  `json:"store"`
	Site           string  `json:"site"`
	Phase          string  `json:"phase"` // pending, transferring, verifying, active, failed or deleting
	Percent        int     `json:"percent"`
	BytesDone      int64   `json:"bytes_done"`
	BytesTotal     *int64  `json:"bytes_total"`
	BytesPerSecond int64   `json:"bytes_per_second"`
	Reason         *string `json:"reason"`
	Message        *string `json:"message"`
	Attempts       int32   `json:"attempts"`
	NextAttempt    *string `json:"next_attempt_at"`
	WaitingSince   *string `json:"waiting_since"` // since when its site is away
	Since          *string `json:"phase_since"`
}

// listReplicas tells how far the copies of an image are: an addition to the Image API, which has nothing like it.
func (s *Server) listReplicas(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	img, _, err := s.reads.Find(r, "get_image")
	if err != nil {
		return err
	}
	return imageapi.WriteJSON(w, http.StatusOK, map[string][]replica{"replicas": s.replicas(img.ID)})
}

// replicas returns the copies of an image, sorted by store, those that are about to be begun included.
func (s *Server) replicas(id image.ID) []replica {
	img, _ := s.Catalog.Read().Image(id)
	records, _ := s.Catalog.Read().Replicas(id)
	out := make([]replica, 0, len(records))
	have := map[string]bool{}
	for _, r := range records {
		have[r.StoreId] = true
		out = append(out, s.replica(r, img))
	}
	ops, _ := s.Catalog.Read().ImageOperations(id)
	for _, o := range ops {
		if o.Kind != storev1.OperationKind_OPERATION_KIND_IMPORT && o.Kind != storev1.OperationKind_OPERATION_KIND_COPY {
			continue
		}
		for _, part := range o.Stores {
			if have[part.StoreId] || part.State != storev1.OperationState_OPERATION_STATE_RUNNING {
				continue
			}
			have[part.StoreId] = true
			st, _ := s.Catalog.Read().Store(image.StoreID(part.StoreId))
			out = append(out, s.replica(&storev1.Replica{
				ImageId: string(id), StoreId: part.StoreId, SiteId: st.GetSiteId(), PhaseTime: o.CreateTime,
				Phase: storev1.ReplicaPhase_REPLICA_PHASE_PENDING,
			}, img))
		}
	}
	slices.SortFunc(out, func(a, b replica) int { return cmp.Compare(a.Store, b.Store) })
	return out
}

// replica adds live figures to a record.
func (s *Server) replica(r *storev1.Replica, img *storev1.Image) replica {
	out := replica{
		Store: r.StoreId, Site: r.SiteId, Phase: strings.ToLower(strings.TrimPrefix(r.Phase.String(), "REPLICA_PHASE_")),
		Reason: orNil(r.Reason), Message: orNil(r.Message), Attempts: r.Attempts,
		NextAttempt: when(r.NextAttemptTime), Since: when(r.PhaseTime),
	}
	total := img.GetContent().GetSizeBytes()
	t, ok := s.Directory.Transfer(image.SiteID(r.SiteId), image.ID(r.ImageId), image.StoreID(r.StoreId))
	switch {
	case r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
		out.BytesDone, out.Percent = total, 100
	case ok && t.Generation == r.Generation:
		total = max(total, t.Total)
		out.BytesDone = t.Done
		if t.Filling {
			out.BytesPerSecond = t.Rate
		}
	}
	if total > 0 {
		out.BytesTotal = &total
		if out.Percent == 0 { // never 100 before the copy is published
			out.Percent = int(min(99, 100*float64(out.BytesDone)/float64(total)))
		}
	}
	s.addWait(&out, r)
	return out
}

// addWait says for whom an unfinished copy waits.
func (s *Server) addWait(out *replica, r *storev1.Replica) {
	live := s.Directory.Site(image.SiteID(r.SiteId))
	if r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE || live.Connected {
		return
	}
	since := timestamppb.New(live.Since)
	if site, _ := s.Catalog.Read().Site(image.SiteID(r.SiteId)); site.GetLastSeenTime() != nil {
		since = site.LastSeenTime
	}
	out.WaitingSince = when(since)
	if out.Reason == nil {
		out.Reason = orNil("WAITING_FOR_SITE")
		out.Message = orNil(fmt.Sprintf("waiting for site %s, offline since %s", r.SiteId, *out.WaitingSince))
	}
}

// timestamp is how the Image API writes a time.
const timestamp = "2006-01-02T15:04:05Z"

// when returns a time as the Image API writes it, nil for none.
func when(t *timestamppb.Timestamp) *string {
	if t == nil {
		return nil
	}
	return orNil(t.AsTime().UTC().Truncate(time.Second).Format(timestamp))
}

// orNil returns nil for an empty string.
func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
