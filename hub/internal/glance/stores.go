package glance

import (
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// storeList returns what the API shows of the stores, sorted by id. It asks no site.
func (s *Server) storeList() []imageapi.Store {
	records := s.Catalog.Read().Stores()
	out := make([]imageapi.Store, 0, len(records))
	for _, st := range records {
		shown := imageapi.Store{
			ID: st.Id, Default: image.StoreID(st.Id) == s.Catalog.Central(), Type: "file",
			Properties: map[string]any{"chunk_size": manifest.ChunkSize, "thin_provisioning": true},
		}
		if st.Driver == "ceph" {
			shown.Type = "rbd"
			shown.Properties["pool"], shown.Properties["fsid"] = st.Pool, st.Fsid
		}
		if site, _ := s.Catalog.Read().Site(image.SiteID(st.SiteId)); site != nil {
			shown.Description = site.Description
		}
		out = append(out, shown)
	}
	return out
}
