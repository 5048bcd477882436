package scenarios

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// takeover is how long another hub may take until all that a killed one had in hand has been resumed or has failed, on a machine
// that is never late.
const takeover = 15 * time.Second

// hubs is a lab of three hubs with images under way.
type hubs struct {
	*lab.Hubs
	data []byte
	sum  string
	gate chan struct{} // closed when the download may go on
	open func()        // closes it
	url  string
}

func newHubs(t *testing.T, shared bool) *hubs {
	t.Helper()
	h := &hubs{Hubs: lab.NewHubs(t, 3, shared, "--staging-retention", "1s", "--import-connections", "1"), gate: make(chan struct{})}
	h.data, h.sum = lab.Data(64<<20, 32)
	h.open = sync.OnceFunc(func() { close(h.gate) })
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(h.data)))
		if r.Method == http.MethodHead {
			return
		}
		_, _ = w.Write(h.data[:16<<20]) // a client that goes away is what the test is about
		_ = http.NewResponseController(w).Flush()
		select {
		case <-h.gate:
			_, _ = w.Write(h.data[16<<20:])
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		h.open()
		closeNow(web)
	})
	h.url = web.URL + "/disk.raw"
	return h
}

// create creates a queued image.
func (h *hubs) create(a *lab.Actor) string {
	h.T.Helper()
	return a.Call(http.MethodPost, "/v2/images", map[string]any{"name": h.T.Name(), "disk_format": "raw", "container_format": "bare"}).
		Is(http.StatusCreated).JSON().Text("id")
}

// stage stages the data for a new image.
func (h *hubs) stage(a *lab.Actor) string {
	h.T.Helper()
	id := h.create(a)
	a.Call(http.MethodPut, "/v2/images/"+id+"/stage", h.data, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
	return id
}

// direct imports staged data into all stores.
func (h *hubs) direct(a *lab.Actor, id string) *lab.Answer {
	h.T.Helper()
	return a.Call(http.MethodPost, "/v2/images/"+id+"/import", map[string]any{"method": map[string]any{"name": "glance-direct"}, "all_stores": true})
}

// download begins an import of the test's URL into all stores.
func (h *hubs) download(a *lab.Actor) string {
	h.T.Helper()
	id := h.create(a)
	a.Call(http.MethodPost, "/v2/images/"+id+"/import",
		map[string]any{"method": map[string]any{"name": "web-download", "uri": h.url}, "all_stores": true}).Is(http.StatusAccepted)
	return id
}

// upload begins an upload that does not end until the test does.
func (h *hubs) upload(n *lab.Node) string {
	h.T.Helper()
	a := h.At(n)
	id := h.create(a)
	r, w := io.Pipe()
	h.T.Cleanup(func() { _ = w.Close() })
	go func() { _, _ = w.Write(h.data[:16<<20]) }()
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodPut, a.URL("/v2/images/"+id+"/file"), r)
	if err != nil {
		h.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	return id
}

// active waits until an image is active in every store, and compares what the stores hold.
func (h *hubs) active(id string) {
	h.T.Helper()
	lab.Eventually(h.T, 2*time.Minute, "the image is active everywhere", func() error {
		img, err := h.Client.Images.GetImage(h.T.Context(), &hubv1.GetImageRequest{Id: id})
		if err != nil {
			return err
		}
		if got := len(img.Image.Stores); got != len(lab.Sites) || img.Image.Status != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE {
			return fmt.Errorf("%s in %v", img.Image.Status, img.Image.Stores)
		}
		return nil
	})
	for _, s := range lab.Sites {
		b, err := os.ReadFile(filepath.Join(h.Store(s), id, "data"))
		if err != nil {
			h.T.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != h.sum {
			h.T.Fatalf("store %s holds other data", s)
		}
	}
}

// failed returns nil if an image is queued again and its latest operation has failed for a reason.
func (h *hubs) failed(id, reason string) error {
	img, err := h.Client.Images.GetImage(h.T.Context(), &hubv1.GetImageRequest{Id: id})
	if err != nil {
		return err
	}
	if img.Image.Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
		return fmt.Errorf("image %s", img.Image.Status)
	}
	ops, err := h.Client.Operations.ListOperations(h.T.Context(), &hubv1.ListOperationsRequest{ImageId: id})
	if err != nil {
		return err
	}
	if op := ops.Operations[0]; op.Error.GetReason() != reason {
		return fmt.Errorf("operation %s, %v", op.State, op.Error)
	}
	return nil
}

// arriving waits until an image has some of its data.
func (h *hubs) arriving(id string) {
	h.T.Helper()
	lab.Eventually(h.T, waitShort, "data arrives", func() error {
		ops, err := h.Client.Operations.ListOperations(h.T.Context(), &hubv1.ListOperationsRequest{ImageId: id})
		if err != nil {
			return err
		}
		if len(ops.Operations) == 0 || ops.Operations[0].State != hubv1.OperationState_OPERATION_STATE_RUNNING {
			return fmt.Errorf("operations %v", ops.Operations)
		}
		return nil
	})
	lab.Eventually(h.T, waitShort, "frames are staged", func() error {
		for _, dir := range h.Staged() {
			if frames, _ := filepath.Glob(filepath.Join(dir, "frames", "*")); len(frames) > 0 {
				return nil
			}
		}
		return os.ErrNotExist
	})
}

// empty deletes images and waits until nothing is left of them in any store, and in the staging area of the hub that leads.
func (h *hubs) empty(ids ...string) {
	h.T.Helper()
	for _, id := range ids {
		h.Anyone().Call(http.MethodDelete, "/v2/images/"+id, nil).Is(http.StatusNoContent)
	}
	for _, s := range lab.Sites {
		lab.Eventually(h.T, 2*time.Minute, "store "+s+" is empty", func() error {
			left, err := filepath.Glob(filepath.Join(h.Store(s), ".images", "*"))
			if err != nil || len(left) > 0 {
				return fmt.Errorf("%v, %w", left, errors.Join(err, os.ErrExist))
			}
			return nil
		})
	}
	lab.Eventually(h.T, 4*time.Minute, "the staging area is empty", func() error {
		if left := h.Staged(); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

// restart starts a hub again that has ended and waits until it is a standby.
func (h *hubs) restart(n *lab.Node) {
	h.T.Helper()
	n.Start()
	lab.Eventually(h.T, time.Minute, "the hub is a standby", func() error {
		if role := n.Role(); role != "standby" {
			return fmt.Errorf("it is %q", role)
		}
		return nil
	})
}

// delays sums up how late a machine is with next to nothing, from now until the test ends: sleeping for a moment and writing a byte
// to its disk.
func delays(t *testing.T, dir string) *atomic.Int64 {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "delays"))
	if err != nil {
		t.Fatal(err)
	}
	lost, done := new(atomic.Int64), make(chan struct{})
	go func() {
		defer close(done)
		for t.Context().Err() == nil {
			began := time.Now()
			time.Sleep(100 * time.Millisecond)
			_, _ = f.WriteAt([]byte{0}, 0) // a full disk fails the test elsewhere
			_ = f.Sync()
			lost.Add(int64(max(0, time.Since(began)-200*time.Millisecond)))
		}
		_ = f.Close()
	}()
	t.Cleanup(func() { <-done })
	return lost
}

func TestHubsTakeEachOthersRequests(t *testing.T) {
	h := newHubs(t, false)
	_, others := h.Leader()
	id := h.stage(h.At(others[0]))
	h.direct(h.At(others[1]), id).Is(http.StatusAccepted)
	h.active(id)
	got := h.At(others[0]).Call(http.MethodGet, "/v2/images/"+id+"/file", nil).Is(http.StatusOK).Body
	if !bytes.Equal(got, h.data) {
		t.Error("another hub answers other data")
	}
	h.open()
	h.active(h.download(h.At(others[1])))
}

func TestHubsTakeOver(t *testing.T) {
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared=%t", shared), func(t *testing.T) { takesOver(t, shared) })
	}
}

func takesOver(t *testing.T, shared bool) {
	h := newHubs(t, shared)
	leader, others := h.Leader()
	staged, done := h.stage(h.At(others[0])), h.stage(h.At(others[1]))
	h.direct(h.Anyone(), done).Is(http.StatusAccepted)
	h.active(done)
	uploaded := h.upload(others[0])
	h.arriving(uploaded)
	downloaded := h.download(h.At(others[1]))
	h.arriving(downloaded)

	lost := delays(t, h.Dir)
	killed := time.Now()
	leader.Kill()
	within := func(what string, f func() error) {
		t.Helper()
		lab.Eventually(t, 2*time.Minute, what, f)
		took, late := time.Since(killed).Round(100*time.Millisecond), time.Duration(lost.Load()).Round(100*time.Millisecond)
		t.Logf("%s: %s after the kill; the machine was late by %s", what, took, late)
		if took > takeover+2*late {
			t.Errorf("%s: %s after the kill", what, took)
		}
	}
	within("another hub leads", func() error {
		if others[0].Role() != "leader" && others[1].Role() != "leader" {
			return os.ErrNotExist
		}
		return nil
	})
	within("the upload has failed", func() error { return h.failed(uploaded, "UPLOAD_INTERRUPTED") })
	if shared {
		h.direct(h.Anyone(), staged).Is(http.StatusAccepted)
	} else {
		within("the staged data is given up", func() error { return h.failed(staged, "STAGED_LOST") })
	}
	within("the download begins again", func() error {
		ops, err := h.Client.Operations.ListOperations(t.Context(), &hubv1.ListOperationsRequest{ImageId: downloaded})
		if err == nil && ops.Operations[0].SourceBytesDone == 0 {
			err = fmt.Errorf("%v", ops.Operations[0])
		}
		return err
	})
	h.open()
	for _, s := range lab.Sites {
		h.WaitSite(s, true)
	}
	t.Logf("all agents are back %s after the kill", time.Since(killed).Round(100*time.Millisecond))
	h.active(downloaded)
	h.active(done)
	ids := []string{done, uploaded, downloaded, staged}
	if shared {
		h.active(staged)
	}
	h.restart(leader)
	again := h.stage(h.At(leader))
	h.direct(h.Anyone(), again).Is(http.StatusAccepted)
	h.active(again)
	h.empty(append(ids, again)...)
}

// A leader that is paused for longer than its lease does no harm when it goes on: neither to the records nor to the shared
// staging area.
func TestHubsPausedLeader(t *testing.T) {
	h := newHubs(t, true)
	leader, _ := h.Leader()
	staged := h.stage(h.Anyone())
	downloaded := h.download(h.Anyone())
	h.arriving(downloaded)
	leader.Pause()
	paused := time.Now()
	lab.Eventually(t, waitShort, "another hub leads", func() error {
		if now, _ := h.Leader(); now == leader {
			return os.ErrExist
		}
		return nil
	})
	next, _ := h.Leader()
	lab.Eventually(t, waitShort, "the download begins again", func() error {
		img := h.At(next).Call(http.MethodGet, "/v2/images/"+downloaded, nil)
		if img.Code != http.StatusOK || !strings.Contains(string(img.Body), `"importing"`) {
			return fmt.Errorf("%d %s", img.Code, img.Body)
		}
		return nil
	})
	lab.Eventually(t, time.Minute, "the pause is over", func() error {
		if left := 30*time.Second - time.Since(paused); left > 0 {
			return fmt.Errorf("%s left", left)
		}
		return nil
	})
	leader.Resume()
	select {
	case <-leader.Exited():
	case <-time.After(30 * time.Second):
		t.Fatal("the hub that was paused goes on as if it led")
	}
	if log := h.Log(leader.Name); !strings.Contains(log, "no longer leads") {
		t.Errorf("its last words: %s", log[max(0, len(log)-1000):])
	}
	h.open()
	h.active(downloaded)
	h.direct(h.At(next), staged).Is(http.StatusAccepted)
	h.active(staged)
	h.restart(leader)
	again := h.stage(h.At(leader))
	h.direct(h.At(next), again).Is(http.StatusAccepted)
	h.active(again)
	h.empty(staged, downloaded, again)
}
