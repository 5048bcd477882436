package glance

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// spread makes an active image of alice's with data in all stores.
func (h *hub) spread(data []byte) image.ID {
	h.t.Helper()
	id := h.upload(data)
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(`{"method":{"name":"copy-image"},"all_stores":true}`))
	h.until("all stores have it", func() bool { return h.show(id)["stores"] == "central,dcn0,dcn1" })
	return id
}

func (h *hub) delete(code int, id image.ID, headers ...string) reply {
	h.t.Helper()
	return h.want(code, "DELETE", "/v2/images/"+string(id), nil, headers...)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id, queued, staged := h.spread([]byte("data")), h.create(), h.create()
	h.want(http.StatusNoContent, "PUT", path(staged, "stage"), jsonBody("data"), octets()...)
	h.delete(http.StatusNotFound, image.NewID())
	h.delete(http.StatusNotFound, id, "X-Auth-Token", "bob")
	h.delete(http.StatusForbidden, id, "X-Auth-Token", "ann")
	h.want(http.StatusBadRequest, "DELETE", "/v2/images/"+string(id), jsonBody("{}"))
	err := h.catalog.EditImage(t.Context(), id, 0, func(r *storev1.Image) error { r.Protected = true; return nil })
	if err != nil {
		t.Fatal(err)
	}
	h.delete(http.StatusForbidden, id)
	err = h.catalog.EditImage(t.Context(), id, 0, func(r *storev1.Image) error { r.Protected = false; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []image.ID{id, queued, staged} {
		h.delete(http.StatusNoContent, id)
		h.delete(http.StatusNotFound, id)
	}
	for _, store := range []string{"central", "dcn0", "dcn1"} {
		h.until("the copy is gone", func() bool { return h.sites.copied(store, id) == nil })
	}
}

// One clone anywhere keeps every copy.
func TestDeleteInUse(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.spread([]byte("data"))
	h.sites.change("dcn1", func(s *fakeSite) { s.clones[id] = true })
	r := h.delete(http.StatusConflict, id)
	if !bytes.Contains(r.body, []byte("dcn1")) {
		t.Fatalf("got %s", r.body)
	}
	if img := h.show(id); img["status"] != "active" || img["stores"] != "central,dcn0,dcn1" {
		t.Fatalf("got %v", img)
	}
	for _, store := range []string{"central", "dcn0", "dcn1"} {
		if h.sites.copied(store, id) == nil {
			t.Fatalf("store %s has lost its copy", store)
		}
	}
}

// A site that is away, and a store whose cluster does not answer, delay nothing: what they hold goes later.
func TestDeleteWhileAway(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.spread([]byte("data"))
	h.sites.change("dcn0", func(s *fakeSite) { s.online = false })
	h.sites.change("dcn1", func(s *fakeSite) { s.healthy, s.silent = false, true })
	begin := time.Now()
	h.delete(http.StatusNoContent, id)
	if took := time.Since(begin); took > 30*time.Second {
		t.Fatalf("the answer took %s", took)
	}
	h.delete(http.StatusNotFound, id)
	if h.sites.copied("dcn0", id) == nil {
		t.Fatal("a site that is away has removed its copy")
	}
	h.sites.change("dcn0", func(s *fakeSite) { s.online = true })
	h.until("the copy is gone", func() bool { return h.sites.copied("dcn0", id) == nil })
}

// When a connected site does not answer in time the delete is pending, and it returns or goes later.
func TestDeletePending(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		clones bool
		after  int
	}{"goes": {false, http.StatusNotFound}, "returns": {true, http.StatusOK}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, func(o *options) { o.settings.DeleteWait = 200 * time.Millisecond })
			id := h.spread([]byte("data"))
			h.sites.change("dcn1", func(s *fakeSite) { s.silent, s.clones[id] = true, c.clones })
			h.delete(http.StatusAccepted, id)
			if got := h.show(id)["status"]; got != "pending_delete" {
				t.Fatalf("the image is %s", got)
			}
			h.delete(http.StatusAccepted, id) // joins
			h.sites.change("dcn1", func(s *fakeSite) { s.silent = false })
			h.until("it is decided", func() bool {
				r := h.do("GET", "/v2/images/"+string(id), nil)
				return r.StatusCode == c.after && !bytes.Contains(r.body, []byte("pending_delete"))
			})
		})
	}
}

// A delete ends the copies that run.
func TestDeleteDuringCopy(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload([]byte("data"))
	h.sites.change("dcn0", func(s *fakeSite) { s.stuck = true })
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(copyImage))
	h.until("the copy runs", func() bool {
		replicas, _ := h.catalog.Read().Replicas(id)
		return len(replicas) == 2
	})
	h.delete(http.StatusNoContent, id)
	h.until("nothing is left", func() bool {
		img, _ := h.catalog.Read().Image(id)
		return img == nil
	})
	for _, o := range h.catalog.Read().Operations() {
		if o.State == storev1.OperationState_OPERATION_STATE_RUNNING {
			t.Fatalf("still running: %v", o)
		}
	}
}

func TestDeleteDuringWebDownload(t *testing.T) {
	t.Parallel()
	hold, held := make(chan struct{}), make(chan struct{})
	begun := sync.OnceFunc(func() { close(held) }) // a request may come twice
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(100<<20))
		_, _ = w.Write(random(5 << 20))
		_ = http.NewResponseController(w).Flush()
		begun()
		select {
		case <-hold:
		case <-r.Context().Done(): // the hub has let go of it
		}
	}))
	t.Cleanup(func() { close(hold); web.Close() })
	h := newHub(t)
	id := h.create()
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(webDownload(web.URL, "")))
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Fatal("the data is not asked for")
	}
	h.delete(http.StatusNoContent, id)
	h.wantNoData(id)
}

func (h *hub) deleteCopy(code int, store string, id image.ID, headers ...string) reply {
	h.t.Helper()
	return h.want(code, "DELETE", "/v2/stores/"+store+"/"+string(id), nil, append([]string{"X-Auth-Token", "admin"}, headers...)...)
}

func TestDeleteFromStore(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id, queued := h.spread([]byte("data")), h.create()
	h.deleteCopy(http.StatusForbidden, "dcn1", id, "X-Auth-Token", "alice")
	h.deleteCopy(http.StatusNotFound, "dcn1", id, "X-Auth-Token", "bob")
	h.deleteCopy(http.StatusNotFound, "dcn1", image.NewID())
	h.deleteCopy(http.StatusConflict, "nowhere", id)
	h.deleteCopy(http.StatusConflict, "dcn1", queued)
	h.sites.change("dcn1", func(s *fakeSite) { s.clones[id] = true })
	h.deleteCopy(http.StatusConflict, "dcn1", id)
	if got := h.show(id)["stores"]; got != "central,dcn0,dcn1" {
		t.Fatalf("got %v", got)
	}
	h.sites.change("dcn1", func(s *fakeSite) { s.clones[id] = false })
	h.deleteCopy(http.StatusNoContent, "dcn1", id)
	h.deleteCopy(http.StatusNotFound, "dcn1", id)
	h.deleteCopy(http.StatusNoContent, "central", id)
	h.deleteCopy(http.StatusForbidden, "dcn0", id) // the last one
	if img := h.show(id); img["status"] != "active" || img["stores"] != "dcn0" {
		t.Fatalf("got %v", img)
	}
	h.until("the copies are gone", func() bool {
		return h.sites.copied("dcn1", id) == nil && h.sites.copied("central", id) == nil
	})
}

// A copy at a site that is away goes later; one that is being written, or has failed, is given up.
func TestDeleteFromStoreUnfinished(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload([]byte("data"))
	h.sites.change("dcn0", func(s *fakeSite) { s.stuck = true })
	h.sites.change("dcn1", func(s *fakeSite) { s.failure = &agentv1.Failure{Reason: "STORE_ERROR", Message: "broken"} })
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(`{"method":{"name":"copy-image"},"all_stores":true,"all_stores_must_succeed":false}`))
	h.until("one fills, one has failed", func() bool {
		img := h.show(id)
		return img["os_glance_importing_to_stores"] == "dcn0" && img["os_glance_failed_import"] == "dcn1"
	})
	h.sites.change("dcn0", func(s *fakeSite) { s.online = false })
	h.deleteCopy(http.StatusNoContent, "dcn0", id)
	h.deleteCopy(http.StatusNoContent, "dcn1", id)
	h.until("nothing is said of them", func() bool {
		img := h.show(id)
		return img["stores"] == "central" && img["os_glance_importing_to_stores"] != "dcn0" && img["os_glance_failed_import"] != "dcn1"
	})
}
