package glance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// The limit of an image's size holds on every way in, also when nobody says how much will come.
func TestOSSA2014028SizeCapOnEveryWay(t *testing.T) {
	t.Parallel()
	const most = 5 << 20
	data := random(most + 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // hides the length
		_, _ = w.Write(data)
	}))
	t.Cleanup(web.Close)
	h := newHub(t, func(o *options) { o.limits.ImageSize = most })
	for _, part := range []string{"file", "stage"} {
		id := h.create()
		h.want(http.StatusRequestEntityTooLarge, "PUT", path(id, part), chunked(data), octets()...)
		h.wantNothing(id)
		h.want(http.StatusRequestEntityTooLarge, "PUT", path(id, part), chunked(data), octets("x-openstack-image-size", "1000000000")...)
		h.wantNothing(id)
	}
	id := h.create()
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(webDownload(web.URL, "")))
	h.wantNothing(id)
	if task := h.task(id); task["status"] != "failure" || !strings.Contains(fmt.Sprint(task["message"]), "limit") {
		t.Fatalf("got %v", task)
	}
}

// What is coming in counts against the project's limit, so that uploads beside each other cannot beat it together, and a
// delete during an upload ends the upload and removes its data.
func TestOSSA2015003QuotaCountsInFlight(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"file", "stage"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			const most = 6 * manifest.ChunkSize
			h := newHub(t, func(o *options) { o.limits.ProjectBytes, o.limits.StagedBytes = most, most })
			codes := map[int]int{}
			var (
				mu sync.Mutex
				wg sync.WaitGroup
			)
			data := random(4 * manifest.ChunkSize)
			gate := make(chan struct{})
			for range 3 {
				id := h.create()
				wg.Go(func() { // each fits by itself, two do not
					r := h.do("PUT", path(id, part), &gated{data: data, at: manifest.ChunkSize, gate: gate}, octets()...)
					mu.Lock()
					defer mu.Unlock()
					codes[r.StatusCode]++
				})
			}
			h.until("all have begun", func() bool {
				n := 0
				for _, o := range h.catalog.Read().Operations() {
					if h.importer.Progress(image.ID(o.Id)).Received > 0 || o.EndTime != nil || o.Undoing != 0 {
						n++
					}
				}
				return n == 3
			})
			close(gate)
			wg.Wait()
			if codes[http.StatusNoContent] > 1 || codes[http.StatusNoContent]+codes[http.StatusRequestEntityTooLarge] != 3 {
				t.Fatalf("got %v", codes)
			}
			u := h.catalog.ProjectUsage("p1")
			if u.Bytes > most || u.Staged > most {
				t.Fatalf("got %+v", u)
			}
		})
	}
}

// A download that says how long it is counts once.
func TestQuotaCountsAnnouncedDownloadsOnce(t *testing.T) {
	t.Parallel()
	const size = 2*manifest.ChunkSize + 1
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write(random(size))
	}))
	t.Cleanup(web.Close)
	h := newHub(t, func(o *options) { o.limits.ProjectBytes = 2 * size })
	fits, not := h.create(), h.create()
	h.want(http.StatusAccepted, "POST", path(fits, "import"), jsonBody(webDownload(web.URL, `,"stores":["dcn0"]`)))
	h.until("both stores have it", func() bool { return h.show(fits)["stores"] == "central,dcn0" })
	h.want(http.StatusRequestEntityTooLarge, "POST", path(not, "import"), jsonBody(webDownload(web.URL, "")))
	h.wantNothingOf(not)
}

// gated yields data, and waits at one place for the gate.
type gated struct {
	data []byte
	at   int
	gate chan struct{}
	done int
}

func (g *gated) Read(p []byte) (int, error) {
	if g.done == len(g.data) {
		return 0, io.EOF
	}
	end := len(g.data)
	if g.done < g.at {
		end = g.at
	} else {
		<-g.gate
	}
	n := copy(p, g.data[g.done:end])
	g.done += n
	return n, nil
}

// A delete while data comes in leaves no data, no copy and no operation, at every stage of every way in.
func TestOSSA2015004DeleteDuringImportLeavesNothing(t *testing.T) {
	t.Parallel()
	data := random(3 * manifest.ChunkSize)
	for _, part := range []string{"file", "stage"} {
		for at := range 4 {
			t.Run(fmt.Sprintf("%s/%d", part, at), func(t *testing.T) {
				t.Parallel()
				h := newHub(t)
				id := h.create()
				gate := make(chan struct{})
				answer := make(chan int, 1)
				go func() {
					body := &gated{data: data, at: min(at*manifest.ChunkSize, len(data)-1), gate: gate}
					r, err := h.try("PUT", path(id, part), body, octets()...)
					if err != nil {
						answer <- http.StatusGone // cut while it was still sending
						return
					}
					answer <- r.StatusCode
				}()
				h.until("the upload runs", func() bool { return h.show(id)["status"] != "queued" })
				h.delete(http.StatusNoContent, id)
				close(gate)
				if code := <-answer; code != http.StatusGone {
					t.Fatalf("got %d", code)
				}
				h.wantNoData(id)
			})
		}
	}
	t.Run("glance-direct", func(t *testing.T) {
		t.Parallel()
		h := newHub(t)
		id := h.create()
		h.sites.change("central", func(s *fakeSite) { s.stuck = true })
		h.want(http.StatusNoContent, "PUT", path(id, "stage"), chunked(data), octets()...)
		h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(glanceDirect))
		img, _ := h.catalog.Read().Image(id)
		h.delete(http.StatusNoContent, id)
		h.until("nothing is left", func() bool {
			img, _ := h.catalog.Read().Image(id)
			ops, _ := h.catalog.Read().ImageOperations(id)
			return img == nil && len(ops) == 0
		})
		h.area.Forget(image.ID(img.Content.Id)) // as the sweep does with what no image names
		h.wantNoData(id)
	})
}

// expiring vouches for a caller until a moment.
type expiring struct{ until time.Time }

func (e expiring) Verify(ctx context.Context, token, service string) (*auth.Caller, error) {
	c, err := names{}.Verify(ctx, token, service)
	if err != nil {
		return nil, err
	}
	limited := *c
	limited.Expires = e.until
	return &limited, nil
}

// An upload whose token expires on the way is completed with the authority it began with: who that was is recorded, the
// project's limits hold to the end, and nothing lingers.
func TestOSSA2015020TokenExpiresDuringUpload(t *testing.T) {
	t.Parallel()
	expires := time.Now().Add(300 * time.Millisecond)
	h := newHub(t, func(o *options) {
		o.limits.ProjectBytes, o.verifier = 3*manifest.ChunkSize, expiring{expires}
	})
	for name, c := range map[string]struct{ chunks, code int }{
		"within the limit": {2, http.StatusNoContent}, "beyond the limit": {5, http.StatusRequestEntityTooLarge},
	} {
		id := h.create()
		gate := make(chan struct{})
		answer := make(chan int, 1)
		go func() {
			r, err := h.try("PUT", path(id, "file"), &gated{data: random(c.chunks * manifest.ChunkSize), at: 1, gate: gate}, octets()...)
			if err != nil {
				t.Error(err)
			}
			if r.Response == nil {
				answer <- 0
				return
			}
			answer <- r.StatusCode
		}()
		h.until("the upload runs and the token is old", func() bool {
			return h.show(id)["status"] == "saving" && time.Now().After(expires)
		})
		close(gate)
		if code := <-answer; code != c.code {
			t.Fatalf("%s: got %d", name, code)
		}
		if c.code == http.StatusNoContent {
			var by string
			for _, o := range h.catalog.Read().Operations() {
				if o.ImageId == string(id) {
					by = o.Requester.GetUserId()
				}
			}
			if got := h.show(id)["status"]; got != "active" || by != "alice" {
				t.Fatalf("the image is %s, uploaded by %q", got, by)
			}
		} else {
			h.wantNothing(id)
		}
	}
}
