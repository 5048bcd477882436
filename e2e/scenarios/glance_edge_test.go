package scenarios

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// edgeImages are images for the time without a hub.
type edgeImages struct {
	here, elsewhere string // with and without a copy at dcn0
}

// edgeWithHub asks a site's own Image API while the hub is there: it is the same API.
func edgeWithHub(c *cloud) edgeImages {
	c.T.Helper()
	images := edgeImages{here: c.create(c.Demo, lab.Object{"os_distro": "edge"}, "dcn0"), elsewhere: c.create(c.Demo, nil)}
	at := c.AtEdge(c.Demo)
	lab.Eventually(c.T, waitShort, "the site knows the image", func() error {
		if at.Call(http.MethodGet, "/v2/images/"+images.here, nil).Header.Get("X-Atoll-Site") != "dcn0" {
			return errNotYet
		}
		return nil
	})
	img := at.Image(images.here)
	c.equal("a property", img.Text("os_distro"), "edge")
	c.equal("stores at the site", img.Text("stores"), "dcn0")
	c.equal("the name of an image that is not here", at.Image(images.elsewhere).Text("name"), c.T.Name())
	made := at.Call(http.MethodPost, "/v2/images", lab.Object{"name": "through the edge", "disk_format": "raw", "container_format": "bare"}).
		Is(http.StatusCreated).JSON().Text("id")
	at.Patch(made, lab.Op("add", "/os_version", "12")).Is(http.StatusOK)
	c.equal("its own write", at.Image(made).Text("os_version"), "12")
	c.equal("the same at the hub", c.Demo.Image(made).Text("os_version"), "12")
	c.drop(at, made)
	return images
}

// edgeAlone shows and serves what the site holds while the hub is away, and says 503 to everything else.
func edgeAlone(c *cloud, images edgeImages) {
	at := c.AtEdge(c.Demo)
	answer := at.Call(http.MethodGet, "/v2/images/"+images.here, nil).Is(http.StatusOK)
	c.equal("who answers", answer.Header.Get("X-Atoll-Site"), "dcn0")
	lab.Eventually(c.T, waitShort, "the site says that it is alone", func() error {
		if at.Call(http.MethodGet, "/v2/images/"+images.here, nil).Is(http.StatusOK).Header.Get("Warning") == "" {
			return errNotYet
		}
		return nil
	})
	img := answer.JSON()
	c.equal("status", img.Text("status"), "active")
	c.equal("a property", img.Text("os_distro"), "edge")
	file := at.Call(http.MethodGet, "/v2/images/"+images.here+"/file", nil).Is(http.StatusOK)
	if !bytes.Equal(file.Body, c.data) || file.Header.Get("Content-Length") != strconv.Itoa(len(c.data)) || file.Header.Get("Content-MD5") != img.Text("checksum") {
		c.T.Errorf("the download has %d bytes: %v", len(file.Body), file.Header)
	}
	part := at.Call(http.MethodGet, "/v2/images/"+images.here+"/file", nil, "Range", "bytes=4194300-4194310").Is(http.StatusPartialContent)
	if !bytes.Equal(part.Body, c.data[4194300:4194311]) {
		c.T.Errorf("a range: %v", part.Body)
	}
	at.Call(http.MethodGet, "/", nil).Is(http.StatusMultipleChoices)
	at.Call(http.MethodGet, "/v2/schemas/image", nil).Is(http.StatusOK)
	at.Call(http.MethodGet, "/v2/images/"+images.here, nil, "X-Auth-Token", "none of mine").Is(http.StatusUnauthorized)
	c.AtEdge(c.Alt).Call(http.MethodGet, "/v2/images/"+images.here, nil).Is(http.StatusNotFound, http.StatusServiceUnavailable)
	list := at.Call(http.MethodGet, "/v2/images", nil).Is(http.StatusOK)
	found := false
	for _, o := range list.JSON().Objects("images") {
		found = found || o.Text("id") == images.here
	}
	if !found || list.Header.Get("X-Atoll-Partial") != "true" {
		c.T.Errorf("the list: %s %v", list.Body, list.Header)
	}
	copying := lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": []string{"dcn0"}}
	for _, away := range []*lab.Answer{
		at.Call(http.MethodPost, "/v2/images/"+images.elsewhere+"/import", copying),
		at.Call(http.MethodGet, "/v2/images/"+images.elsewhere, nil),
		at.Call(http.MethodPost, "/v2/images", lab.Object{"name": "never"}),
		at.Patch(images.here, lab.Op("add", "/os_version", "13")),
		at.Call(http.MethodDelete, "/v2/images/"+images.here, nil),
		at.Call(http.MethodPut, "/v2/images/"+images.elsewhere+"/file", c.data[:1<<20], "Content-Type", "application/octet-stream"),
	} {
		away.Is(http.StatusServiceUnavailable)
		if n, err := strconv.Atoi(away.Header.Get("Retry-After")); err != nil || n <= 0 {
			c.T.Errorf("Retry-After: %q", away.Header.Get("Retry-After"))
		}
	}
	// What a compute node needs to boot.
	n := compute{c, "dcn0", at}
	nova := at.Call(http.MethodGet, "/v2/images/"+images.here, nil, "X-Service-Token", c.Nova.Token()).Is(http.StatusOK).JSON()
	parts, err := n.locate(nova)
	c.must(err)
	n.clone(parts, "alone_"+images.here)
}

// edgeAgain copies to the site as soon as the hub is back.
func edgeAgain(c *cloud, images edgeImages) {
	at := c.AtEdge(c.Demo)
	copying := lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": []string{"dcn0"}}
	lab.Eventually(c.T, waitShort, "the copy is accepted", func() error {
		answer := at.Call(http.MethodPost, "/v2/images/"+images.elsewhere+"/import", copying)
		if answer.Code == http.StatusServiceUnavailable {
			return errNotYet
		}
		answer.Is(http.StatusAccepted)
		return nil
	})
	lab.Eventually(c.T, 2*time.Minute, "the copy is there", func() error {
		answer := at.Call(http.MethodGet, "/v2/images/"+images.elsewhere, nil)
		if answer.Code == http.StatusServiceUnavailable { // a hub that has just started may be slow to answer the site
			return errNotYet
		}
		if stores := answer.Is(http.StatusOK).JSON().List("stores"); !slices.Contains(stores, "dcn0") {
			return fmt.Errorf("stores: %v", stores)
		}
		return nil
	})
	c.holds(c.Demo, images.elsewhere, "central", "dcn0")
}

// edge takes the hub away from a site whose agent serves the Image API.
func edge(t *testing.T, c *cloud) {
	var images edgeImages
	if !t.Run("the site's own API", func(t *testing.T) { images = edgeWithHub(c.in(t)) }) {
		return
	}
	c.Hub.Kill()
	t.Run("the site without the hub", func(t *testing.T) { edgeAlone(c.in(t), images) })
	c.StartHub()
	t.Run("the site with the hub again", func(t *testing.T) { edgeAgain(c.in(t), images) })
}
