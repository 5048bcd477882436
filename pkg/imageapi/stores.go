package imageapi

import (
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// storeView is a store as everybody sees it. Booleans are strings here, and absent while false.
type storeView struct {
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`
	Default     string `json:"default,omitempty"`
	ReadOnly    string `json:"read-only,omitempty"`
}

// storeDetail is a store as administrators see it.
type storeDetail struct {
	storeView
	Type       string         `json:"type"`
	Weight     int            `json:"weight"`
	Properties map[string]any `json:"properties"`
}

func viewStore(s Store) storeView {
	v := storeView{ID: s.ID, Description: s.Description}
	if s.Default {
		v.Default = "true"
	}
	if s.ReadOnly {
		v.ReadOnly = "true"
	}
	return v
}

// listStores answers with the stores.
func (rd *Reads) listStores(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	views := []storeView{}
	for _, s := range rd.Stores() {
		views = append(views, viewStore(s))
	}
	return WriteJSON(w, http.StatusOK, map[string]any{"stores": views})
}

// detailStores answers with the stores and what administrators want to know of them.
func (rd *Reads) detailStores(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	if !rd.Policy.Allowed(auth.From(r.Context()), "stores_info_detail", nil) {
		return denied("stores_info_detail")
	}
	views := []storeDetail{}
	for _, s := range rd.Stores() {
		detail := storeDetail{storeView: viewStore(s), Type: s.Type, Weight: s.Weight, Properties: s.Properties}
		if detail.Properties == nil {
			detail.Properties = map[string]any{}
		}
		views = append(views, detail)
	}
	return WriteJSON(w, http.StatusOK, map[string]any{"stores": views})
}
