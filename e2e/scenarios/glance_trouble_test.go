package scenarios

import (
	"net/http"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// soon checks that a request is answered in time, whatever the clusters do. One that changes nothing is repeated: a machine that
// stands still makes one answer late, a cluster that is waited for every one.
func (c *cloud) soon(a *lab.Actor, within time.Duration, method, path string, body any, codes ...int) *lab.Answer {
	c.T.Helper()
	for left := 4; ; left-- {
		began := time.Now()
		answer := a.Call(method, path, body).Is(codes...)
		took := time.Since(began)
		if took <= within {
			return answer
		}
		if method != http.MethodGet || left == 0 {
			c.T.Errorf("%s %s took %s", method, path, took)
			return answer
		}
		c.T.Logf("%s %s took %s", method, path, took)
	}
}

// undecided is how long the answer to a change may take while a cluster is dead: less than the 30 s that an agent gives an
// operation there.
const undecided = 25 * time.Second

// deadCluster takes the cluster of a site away: no answer waits for it, what is deleted meanwhile goes when it is back, and
// so does what is copied.
func deadCluster(c *cloud) {
	doomed, wanted := c.create(c.Demo, nil, "dcn1"), c.create(c.Demo, nil)
	c.OSD("dcn1", "osd-stop")
	down := true
	start := func() {
		if down {
			down = false
			c.OSD("dcn1", "osd-start")
		}
	}
	defer start()
	copying := lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": []string{"dcn0", "dcn1"}}
	c.soon(c.Demo, undecided, http.MethodPost, "/v2/images/"+wanted+"/import", copying, http.StatusAccepted)
	c.soon(c.Demo, 4*time.Second, http.MethodGet, "/v2/images/"+doomed, nil, http.StatusOK)
	c.soon(c.Demo, 4*time.Second, http.MethodGet, "/v2/images?limit=10", nil, http.StatusOK)
	c.soon(c.Demo, 4*time.Second, http.MethodGet, "/v2/info/stores", nil, http.StatusOK)
	c.soon(c.Admin, 4*time.Second, http.MethodGet, "/v2/info/stores/detail", nil, http.StatusOK)
	c.soon(c.Demo, 20*time.Second, http.MethodGet, "/v2/images/"+doomed+"/file", nil, http.StatusOK)
	c.soon(c.Demo, undecided, http.MethodDelete, "/v2/images/"+doomed, nil, http.StatusNoContent, http.StatusAccepted)
	c.soon(c.Demo, 4*time.Second, http.MethodGet, "/v2/images/"+doomed, nil, http.StatusNotFound, http.StatusOK)
	c.awaits(c.Demo, wanted, "the other site does not wait", func(img lab.Object) bool { return img.Text("stores") == "central,dcn0" })
	start()
	c.active(c.Demo, wanted)
	c.holds(c.Demo, wanted, "central", "dcn0", "dcn1")
	c.gone(doomed)
	c.Demo.Call(http.MethodGet, "/v2/images/"+doomed, nil).Is(http.StatusNotFound)
}

// awaySite deletes an image while a site is away: it goes when the site is back.
func awaySite(c *cloud) {
	id := c.create(c.Demo, nil, "dcn1")
	c.Agents["dcn1"].Stop()
	c.WaitSite("dcn1", false)
	c.soon(c.Demo, undecided, http.MethodDelete, "/v2/images/"+id, nil, http.StatusNoContent)
	c.Demo.Call(http.MethodGet, "/v2/images/"+id, nil).Is(http.StatusNotFound)
	if !c.Holds("dcn1", id) {
		c.T.Error("nobody was there to remove the copy, and yet it is gone")
	}
	c.StartAgent("dcn1")
	c.WaitSite("dcn1", true)
	c.gone(id)
}

// deleteWhileCopying ends the copy, and nothing stays of the image. One of the sites is stopped, so that the copy is not over
// before a slow test looks.
func deleteWhileCopying(c *cloud) {
	if _, err := c.Client.Sites.PauseSite(c.T.Context(), &hubv1.PauseSiteRequest{Id: "dcn1"}); err != nil {
		c.T.Fatal(err)
	}
	defer func() {
		if _, err := c.Client.Sites.ResumeSite(c.T.Context(), &hubv1.ResumeSiteRequest{Id: "dcn1"}); err != nil {
			c.T.Error(err)
		}
	}()
	data, _ := lab.Data(384<<20, 320)
	id := c.queue(c.Demo, nil)
	c.Demo.Call(http.MethodPut, "/v2/images/"+id+"/file", data, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
	copying := lab.Object{"method": lab.Object{"name": "copy-image"}, "all_stores": true}
	c.Demo.Call(http.MethodPost, "/v2/images/"+id+"/import", copying).Is(http.StatusAccepted)
	c.awaits(c.Demo, id, "the copy runs", func(img lab.Object) bool { return len(img.List("os_glance_importing_to_stores")) > 0 })
	// Accepted: a site is slow to say whether its copy is in use.
	if c.Demo.Call(http.MethodDelete, "/v2/images/"+id, nil).Is(http.StatusNoContent, http.StatusAccepted).Code == http.StatusNoContent {
		c.Demo.Call(http.MethodGet, "/v2/images/"+id+"/file", nil).Is(http.StatusNotFound)
	}
	c.gone(id)
	c.Demo.Call(http.MethodGet, "/v2/images/"+id+"/file", nil).Is(http.StatusNotFound)
}
