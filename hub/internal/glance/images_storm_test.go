package glance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/imageapi"
)

const (
	stormClients = 32
	stormTime    = 2 * time.Second
)

// storm is many clients that change the same few images and many of their own, all at once.
type storm struct {
	url    string
	client *http.Client
	shared []string // images that all clients change
	added  []atomic.Int64
	sum    atomic.Int64 // requests
	rounds atomic.Int64
}

// TestStorm runs clients against a real server: none of them may see a 5xx, none of their changes may get lost, and what
// one of them has made it must find again at once.
func TestStorm(t *testing.T) {
	h := newHub(t)
	s := &storm{url: h.url, client: h.client, added: make([]atomic.Int64, 4)}
	if tr, ok := s.client.Transport.(*http.Transport); ok {
		tr.MaxIdleConnsPerHost = stormClients
	}
	for range s.added {
		img, err := s.ask(http.MethodPost, "/v2/images", `{}`, http.StatusCreated)
		if err != nil {
			t.Fatal(err)
		}
		s.shared = append(s.shared, fmt.Sprint(img["id"]))
	}
	ctx, cancel := context.WithTimeout(t.Context(), stormTime)
	defer cancel()
	var wg sync.WaitGroup
	for n := range stormClients {
		wg.Go(func() {
			for round := 0; ctx.Err() == nil && !t.Failed(); round++ {
				if err := s.round(n, round); err != nil {
					t.Errorf("client %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	for i, id := range s.shared {
		img, err := s.ask(http.MethodGet, "/v2/images/"+id, "", http.StatusOK)
		if err != nil {
			t.Fatal(err)
		}
		tags, _ := img["tags"].([]any)
		if want := s.added[i].Load(); int64(len(tags)) != want {
			t.Errorf("image %d has %d tags, want %d", i, len(tags), want)
		}
	}
	left, err := s.ask(http.MethodGet, "/v2/images?limit=1000", "", http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if images, _ := left["images"].([]any); len(images) != len(s.shared) {
		t.Errorf("%d images are left, want %d", len(images), len(s.shared))
	}
	t.Logf("%d requests in %d rounds", s.sum.Load(), s.rounds.Load())
}

// round is what one client does again and again: make an image, change it, change a shared one, list, clean up.
func (s *storm) round(n, round int) error {
	made, err := s.ask(http.MethodPost, "/v2/images", `{"name": "storm"}`, http.StatusCreated)
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/v2/images/%s", made["id"])
	for i := range 3 {
		patch := fmt.Sprintf(`[{"op": "add", "path": "/p%d", "value": "%d"}, {"op": "replace", "path": "/name", "value": "%d-%d"}]`, i, i, n, round)
		if _, err := s.ask(http.MethodPatch, path, patch, http.StatusOK); err != nil {
			return err
		}
	}
	found, err := s.ask(http.MethodGet, path, "", http.StatusOK)
	if err != nil {
		return err
	}
	if found["name"] != fmt.Sprintf("%d-%d", n, round) || found["p0"] != "0" || found["p1"] != "1" || found["p2"] != "2" {
		return fmt.Errorf("own changes are lost: %v", found)
	}
	if err := s.tag(n, round); err != nil {
		return err
	}
	page, err := s.ask(http.MethodGet, fmt.Sprintf("/v2/images?limit=10&name=%d-%d", n, round), "", http.StatusOK)
	if err != nil {
		return err
	}
	if images, _ := page["images"].([]any); len(images) != 1 {
		return fmt.Errorf("a list has %d images of the name, want the one just made", len(images))
	}
	if _, err = s.ask(http.MethodPut, path+"/tags/x", "", http.StatusNoContent); err != nil {
		return err
	}
	if _, err = s.ask(http.MethodDelete, path+"/tags/x", "", http.StatusNoContent); err != nil {
		return err
	}
	if _, err = s.ask(http.MethodDelete, path, "", http.StatusNoContent); err != nil {
		return err
	}
	s.rounds.Add(1)
	_, err = s.ask(http.MethodGet, path, "", http.StatusNotFound)
	return err
}

// tag adds a tag to a shared image, which all clients do at the same time.
func (s *storm) tag(n, round int) error {
	i := rand.IntN(len(s.shared))
	if s.added[i].Add(1) > 100 {
		s.added[i].Add(-1)
		return nil
	}
	_, err := s.ask(http.MethodPut, fmt.Sprintf("/v2/images/%s/tags/%d-%d", s.shared[i], n, round), "", http.StatusNoContent)
	return err
}

// ask makes a request and returns the object in the answer.
func (s *storm) ask(method, path, body string, want int) (map[string]any, error) {
	s.sum.Add(1)
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, bytes.NewBufferString(body))
	if err != nil {
		return nil, err
	}
	if body == "" {
		r.Body = http.NoBody
	}
	r.Header.Set("X-Auth-Token", "alice")
	r.Header.Set("Content-Type", imageapi.PatchV21)
	w, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(w.Body)
	err = errors.Join(err, w.Body.Close())
	if err != nil {
		return nil, err
	}
	if w.StatusCode != want {
		return nil, fmt.Errorf("%s %s: got %d %s, want %d", method, path, w.StatusCode, text, want)
	}
	var object map[string]any
	if len(text) > 0 {
		err = json.Unmarshal(text, &object)
	}
	return object, err
}
