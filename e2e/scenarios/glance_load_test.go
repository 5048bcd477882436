package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// clients is how many work at the same time.
const clients = 200

// storm is the work of many clients: each makes images of its own, changes, lists and deletes them, and all of them count in
// properties of a few images that they share.
type storm struct {
	base, token string
	http        *http.Client
	shared      []string
	wanted      [clients]int // what the last acknowledged change of a client to its shared image has set
	requests    atomic.Int64
	mu          sync.Mutex
	failures    []string
}

func (s *storm) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) < 20 {
		s.failures = append(s.failures, fmt.Sprintf(format, args...))
	}
}

// call makes one request, whose answer has to be one of the expected ones.
func (s *storm) call(ctx context.Context, method, path, kind, body string, want ...int) (int, lab.Object) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		s.fail("%v", err)
		return 0, nil
	}
	req.Header.Set("X-Auth-Token", s.token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			s.fail("%s %s: %v", method, path, err)
		}
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	s.requests.Add(1)
	for _, code := range want {
		if resp.StatusCode != code || err != nil {
			continue
		}
		var o lab.Object
		if len(text) > 0 && json.Unmarshal(text, &o) != nil {
			s.fail("%s %s: not JSON: %.200s", method, path, text)
		}
		return code, o
	}
	s.fail("%s %s: status %d, want %v, %v: %.300s", method, path, resp.StatusCode, want, err, text)
	return 0, nil
}

const patchKind = "application/openstack-images-v2.1-json-patch"

// patch changes one property and returns what the server says it is now.
func (s *storm) patch(ctx context.Context, id, name string, value int) (string, bool) {
	body := fmt.Sprintf(`[{"op":"add","path":"/%s","value":"%d"}]`, name, value)
	code, img := s.call(ctx, http.MethodPatch, "/v2/images/"+id, patchKind, body, http.StatusOK)
	return img.Text(name), code == http.StatusOK
}

// client works until ctx ends. It finishes what it has begun, so that nothing is left in doubt.
func (s *storm) client(ctx context.Context, n int) {
	work := context.WithoutCancel(ctx)
	name := fmt.Sprintf("client%d", n)
	for round := 1; ctx.Err() == nil; round++ {
		body := fmt.Sprintf(`{"name":%q,"tags":[%q],"disk_format":"raw","container_format":"bare","round":"%d"}`, name, name, round)
		code, img := s.call(work, http.MethodPost, "/v2/images", "application/json", body, http.StatusCreated)
		id := img.Text("id")
		if code == 0 {
			return
		}
		for i := range 3 {
			if got, ok := s.patch(work, id, "counter", i); ok && got != strconv.Itoa(i) {
				s.fail("an image shows %s, not the change that was just made", got)
			}
		}
		if got, ok := s.patch(work, s.shared[n%len(s.shared)], name, round); ok {
			s.wanted[n] = round
			if got != strconv.Itoa(round) {
				s.fail("a shared image shows %s for %d", got, round)
			}
		}
		_, page := s.call(work, http.MethodGet, "/v2/images?limit=20&tag="+name, "", "", http.StatusOK)
		if all := page.Objects("images"); len(all) != 1 || all[0].Text("counter") != "2" || all[0].Text("id") != id {
			s.fail("%s lists %d images of its own, want 1: %v", name, len(all), all)
		}
		if rand.IntN(4) == 0 {
			s.call(work, http.MethodGet, "/v2/images?limit=100&sort=updated_at:desc", "", "", http.StatusOK)
		}
		s.remove(work, id)
	}
}

// remove deletes an image, which is gone at once unless the answer says that the hub is still at it.
func (s *storm) remove(ctx context.Context, id string) {
	code, _ := s.call(ctx, http.MethodDelete, "/v2/images/"+id, "", "", http.StatusNoContent, http.StatusAccepted)
	for until := time.Now().Add(waitShort); code == http.StatusAccepted && time.Now().Before(until); {
		if seen, _ := s.call(ctx, http.MethodGet, "/v2/images/"+id, "", "", http.StatusOK, http.StatusNotFound); seen != http.StatusOK {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.call(ctx, http.MethodGet, "/v2/images/"+id, "", "", http.StatusNotFound)
}

// manyClients lets 200 clients work for 15 s, or for two minutes with ATOLL_LONG=1. No answer is an error of the server, and
// no acknowledged change is lost.
func manyClients(c *cloud) {
	duration := 15 * time.Second
	if os.Getenv("ATOLL_LONG") == "1" {
		duration = 2 * time.Minute
	}
	s := &storm{base: c.Base(), token: c.Demo.Token(), http: &http.Client{
		Timeout: 3 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients},
	}}
	defer s.http.CloseIdleConnections()
	for range 4 { // each takes 50 properties
		s.shared = append(s.shared, c.queue(c.Demo, nil))
	}
	ctx, cancel := context.WithTimeout(c.T.Context(), duration)
	defer cancel()
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() { s.client(ctx, n) })
	}
	all.Wait()
	for _, f := range s.failures {
		c.T.Error(f)
	}
	for n, want := range s.wanted {
		name := fmt.Sprintf("client%d", n)
		if got := c.Demo.Image(s.shared[n%len(s.shared)]).Text(name); got != strconv.Itoa(want) {
			c.T.Errorf("lost update: %s has set %d, and the image says %q", name, want, got)
		}
	}
	c.T.Logf("%d requests in %s by %d clients", s.requests.Load(), duration, clients)
}

// TestStormOnImages is manyClients on a lab of its own.
func TestStormOnImages(t *testing.T) {
	if os.Getenv("ATOLL_LONG") != "1" {
		t.Skip("two minutes: set ATOLL_LONG=1; TestImageAPI does it for 15 s")
	}
	c := &cloud{Cloud: lab.NewCloud(t)}
	manyClients(c)
}
