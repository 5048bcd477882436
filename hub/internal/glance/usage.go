package glance

import (
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

// quota is one row of the usage resource.
type quota struct {
	Usage int64 `json:"usage"`
	Limit int64 `json:"limit"` // -1: none
}

// usage tells what the images of the caller's project take, in MiB or in images, if this installation limits that at all.
func (s *Server) usage(w http.ResponseWriter, r *http.Request) error {
	if err := imageapi.NoBody(r); err != nil {
		return err
	}
	out := map[string]quota{}
	limits := s.Catalog.Limits()
	if c := auth.From(r.Context()); c != nil && (limits.ProjectBytes > 0 || limits.ProjectImages > 0 || limits.StagedBytes > 0) {
		u := s.Catalog.ProjectUsage(c.ProjectID)
		out["image_size_total"] = quota{mebibytes(u.Bytes), limit(mebibytes(limits.ProjectBytes))}
		out["image_stage_total"] = quota{mebibytes(u.Staged), limit(mebibytes(limits.StagedBytes))}
		out["image_count_total"] = quota{int64(u.Images), limit(int64(limits.ProjectImages))}
		out["image_count_uploading"] = quota{int64(u.Uploading), -1}
	}
	return imageapi.WriteJSON(w, http.StatusOK, map[string]map[string]quota{"usage": out})
}

// mebibytes rounds up.
func mebibytes(n int64) int64 { return (max(n, 0) + 1<<20 - 1) >> 20 }

func limit(n int64) int64 {
	if n <= 0 {
		return -1
	}
	return n
}
