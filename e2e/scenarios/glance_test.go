package scenarios

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// cloud is what the tests of the Image API share: one lab with Keystone, and a web server with an image.
type cloud struct {
	*lab.Cloud
	web  *httptest.Server
	gate chan struct{} // closed when slow downloads may end
	open func()        // closes it
	data []byte        // 16 MiB, 8 of them not zero
	sum  string        // SHA-256 of data
	file string        // holds data
}

func (c *cloud) in(t *testing.T) *cloud {
	d := *c
	d.Cloud = c.Cloud.In(t)
	return &d
}

// TestImageAPI drives one cloud with real clients: three Ceph clusters, Keystone, a hub and its agents.
func TestImageAPI(t *testing.T) {
	c := &cloud{Cloud: lab.NewCloud(t, "--retry-max", "2s", "--retry-initial", "1s")}
	c.data, c.sum = lab.Data(16<<20, 8)
	c.file = c.Demo.File("disk.raw", c.data)
	c.web = c.serve()
	t.Run("together", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*cloud)
		}{
			{"create from a file", createFromFile},
			{"create from standard input", createFromStdin},
			{"create with an id", createChosen},
			{"create qcow2", createQCOW2},
			{"update", updateImage},
			{"hide", hideImage},
			{"tags", tagImage},
			{"deactivate", deactivateImage},
			{"stage and import", stageImage},
			{"create via import", createViaImport},
			{"web-download", webDownload},
			{"web-download that fails", webDownloadFails},
			{"progress", importProgress},
			{"copy-image", copyImage},
			{"stores-delete", deleteFromStore},
			{"stores-info", storesInfo},
			{"share", shareImage},
			{"community", communityImage},
			{"list", listImages},
			{"openstack create", openstackCreate},
			{"openstack set", openstackSet},
			{"openstack share", openstackShare},
			{"openstack locations", openstackLocations},
			{"endpoints of sites", siteEndpoints},
			{"application credential", applicationCredential},
			{"trust", trust},
			{"refused tokens", refusedTokens},
			{"two faces", twoFaces},
			{"Cinder clones", cinderClones},
			{"Nova snapshots", novaSnapshots},
			{"validated location", validatedLocation},
			{"gophercloud images", gopherImages},
			{"gophercloud imports", gopherImports},
			{"gophercloud lists", gopherLists},
			{"gophercloud members", gopherMembers},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(c.in(t))
			})
		}
	})
	for _, test := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Nova boots", novaBoots},
		{"a store that fails", failedStore},
		{"a dead cluster", deadCluster},
		{"a site that is away", awaySite},
		{"delete while copying", deleteWhileCopying},
		{"bad requests", badRequests},
		{"bad uploads", badUploads},
		{"slow clients", slowClients},
		{"many clients", manyClients},
		{"tempest", tempestSuite},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(c.in(t)) })
	}
	edge(t, c)
}

// serve starts the web server that imports fetch from. Below /slow/ the last MiB waits for the gate, but for
// a byte now and then.
func (c *cloud) serve() *httptest.Server {
	c.gate = make(chan struct{})
	c.open = sync.OnceFunc(func() { close(c.gate) })
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/disk.raw":
			w.Header().Set("Content-Length", strconv.Itoa(len(c.data)))
			_, _ = w.Write(c.data)
		case "/slow/disk.raw":
			w.Header().Set("Content-Length", strconv.Itoa(len(c.data)))
			control := http.NewResponseController(w)
			_, _ = w.Write(c.data[:15<<20])
			_ = control.Flush()
			for left := c.data[15<<20:]; len(left) > 0; {
				select {
				case <-c.gate:
					_, _ = w.Write(left)
					return
				case <-r.Context().Done():
					return
				case <-time.After(5 * time.Second): // the hub takes a server that says nothing for a minute for dead
					_, _ = w.Write(left[:1])
					_ = control.Flush()
					left = left[1:]
				}
			}
		default:
			http.NotFound(w, r)
		}
	}))
	c.T.Cleanup(func() {
		c.open() // a test that has failed may have left it closed, and the server waits for its downloads
		web.Close()
	})
	return web
}

// awaits waits until ok says that an image is as it should be, as the user sees it.
func (c *cloud) awaits(a *lab.Actor, id, what string, ok func(lab.Object) bool) lab.Object {
	c.T.Helper()
	var img lab.Object
	lab.Eventually(c.T, 2*time.Minute, what, func() error {
		if img = a.Image(id); !ok(img) {
			return fmt.Errorf("image: %v", img)
		}
		return nil
	})
	return img
}

// active waits until an image is active and no store is being filled.
func (c *cloud) active(a *lab.Actor, id string) lab.Object {
	c.T.Helper()
	return c.awaits(a, id, "the image is active and all its stores are filled", func(img lab.Object) bool {
		return img.Text("status") == "active" && len(img.List("os_glance_importing_to_stores")) == 0
	})
}

// create makes an active image with the cloud's data, by requests.
func (c *cloud) create(a *lab.Actor, attributes lab.Object, stores ...string) string {
	c.T.Helper()
	id := c.queue(a, attributes)
	a.Call(http.MethodPut, "/v2/images/"+id+"/file", c.data, "Content-Type", "application/octet-stream").Is(http.StatusNoContent)
	if len(stores) > 0 {
		c.Admin.Call(http.MethodPost, "/v2/images/"+id+"/import", lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": stores}).
			Is(http.StatusAccepted)
		c.active(a, id)
	}
	return id
}

// queue makes an image without data.
func (c *cloud) queue(a *lab.Actor, attributes lab.Object) string {
	c.T.Helper()
	body := lab.Object{"name": c.T.Name(), "disk_format": "raw", "container_format": "bare"}
	maps.Copy(body, attributes)
	return a.Call(http.MethodPost, "/v2/images", body).Is(http.StatusCreated).JSON().Text("id")
}

// holds checks which stores hold exactly the cloud's data of an image: by the API's word and by the pools' own.
func (c *cloud) holds(a *lab.Actor, id string, stores ...string) {
	c.T.Helper()
	if got := a.Image(id).Text("stores"); got != strings.Join(stores, ",") {
		c.T.Fatalf("stores are %q, want %v", got, stores)
	}
	for _, s := range lab.Sites {
		if !slices.Contains(stores, s) {
			if slices.Contains(c.Images(s), id) {
				c.T.Errorf("%s holds the image", s)
			}
			continue
		}
		if got := c.Sum(s, id); got != c.sum {
			c.T.Errorf("%s holds data with the sum %s, want %s", s, got, c.sum)
		}
		if out := c.MustRBD(s, "snap", "ls", "--format", "json", "images/"+id); !strings.Contains(out, `"name":"snap"`) ||
			!strings.Contains(out, `"protected":"true"`) {
			c.T.Errorf("%s: no protected snapshot: %s", s, out)
		}
	}
}

// gone checks that no pool has anything of an image.
func (c *cloud) gone(id string) {
	c.T.Helper()
	lab.Eventually(c.T, waitShort, "the image is gone everywhere", func() error {
		for _, s := range lab.Sites {
			if c.Holds(s, id) {
				return errors.New("still at " + s)
			}
		}
		return nil
	})
}

// drop deletes an image and waits until nobody sees it: at once, unless a site is slow to answer.
func (c *cloud) drop(a *lab.Actor, id string) {
	c.T.Helper()
	code := a.Call(http.MethodDelete, "/v2/images/"+id, nil).Is(http.StatusNoContent, http.StatusAccepted).Code
	lab.Eventually(c.T, waitShort, "the image is deleted", func() error {
		answer := a.Call(http.MethodGet, "/v2/images/"+id, nil)
		if code == http.StatusAccepted && answer.Code == http.StatusOK {
			return errNotYet
		}
		answer.Is(http.StatusNotFound)
		return nil
	})
}

// same checks the hashes of the cloud's data.
func (c *cloud) same(md5sum, sha string) {
	c.T.Helper()
	m, s := md5.Sum(c.data), sha512.Sum512(c.data)
	if md5sum != hex.EncodeToString(m[:]) || sha != hex.EncodeToString(s[:]) {
		c.T.Errorf("checksum %s, os_hash_value %s", md5sum, sha)
	}
}

// equal checks one value.
func (c *cloud) equal(what, got, want string) {
	c.T.Helper()
	if got != want {
		c.T.Errorf("%s is %q, want %q", what, got, want)
	}
}
