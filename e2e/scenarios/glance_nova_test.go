package scenarios

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// compute is a compute or volume node of a site, with the rules by which Nova and Cinder decide whether they clone an image
// that the Image API names. Its requests carry the user's token and the service's.
type compute struct {
	c    *cloud
	site string
	user *lab.Actor
}

// get reads an image as Nova does: what the schema calls a base property stays at the top, the rest goes below properties.
func (n compute) get(id string) lab.Object {
	n.c.T.Helper()
	schema := n.user.Call(http.MethodGet, "/v2/schemas/image", nil).Is(http.StatusOK).JSON()
	known, _ := schema["properties"].(map[string]any)
	got := n.user.Call(http.MethodGet, "/site/"+n.site+"/v2/images/"+id, nil, "X-Service-Token", n.c.Nova.Token()).Is(http.StatusOK).JSON()
	free := lab.Object{}
	img := lab.Object{"properties": free}
	for name, value := range got {
		about, ok := known[name].(map[string]any)
		if base, says := about["is_base"].(bool); ok && (base || !says) {
			img[name] = value
			continue
		}
		free[name] = value
	}
	// Nova looks at the direct URL after the locations.
	if direct := img.Text("direct_url"); direct != "" {
		all, _ := img["locations"].([]any)
		img["locations"] = append(all, map[string]any{"url": direct, "metadata": map[string]any{}})
	}
	return img
}

// parse takes a location apart: four parts, none of them blank, each unquoted by itself.
func parse(location string) ([]string, error) {
	rest, ok := strings.CutPrefix(location, "rbd://")
	if !ok {
		return nil, errors.New("not stored in rbd")
	}
	var parts []string
	for piece := range strings.SplitSeq(rest, "/") {
		part, err := url.PathUnescape(piece)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	if slices.Contains(parts, "") {
		return nil, errors.New("blank components")
	}
	if len(parts) != 4 {
		return nil, errors.New("not an rbd snapshot")
	}
	return parts, nil
}

// cloneable says whether the node can clone from a location: the cluster is its own, the image is raw, and the snapshot can
// be opened.
func (n compute) cloneable(location string, img lab.Object) ([]string, error) {
	parts, err := parse(location)
	switch {
	case err != nil:
		return nil, err
	case parts[0] != n.c.Ceph(n.site, "fsid"):
		return nil, errors.New("the image is in another cluster")
	case img.Text("disk_format") != "raw":
		return nil, errors.New("the image is not raw")
	}
	if out, err := n.c.RBD(n.site, "info", parts[1]+"/"+parts[2]+"@"+parts[3]); err != nil {
		return nil, fmt.Errorf("the snapshot cannot be opened: %s", out)
	}
	return parts, nil
}

// locate returns the first location that the node can clone.
func (n compute) locate(img lab.Object) ([]string, error) {
	err := errors.New("no locations")
	for _, l := range img.Objects("locations") {
		var parts []string
		if parts, err = n.cloneable(l.Text("url"), img); err == nil {
			return parts, nil
		}
	}
	return nil, err
}

// clone clones a snapshot that has to be protected, compares what the clone reads as, and removes it.
func (n compute) clone(parts []string, name string) {
	n.c.T.Helper()
	spec := parts[1] + "/" + parts[2]
	if out := n.c.MustRBD(n.site, "snap", "ls", "--format", "json", spec); !strings.Contains(out, `"protected":"true"`) {
		n.c.T.Errorf("the snapshot is not protected: %s", out)
	}
	disk := parts[1] + "/" + name
	n.c.MustRBD(n.site, "clone", "--rbd-default-clone-format", "1", spec+"@"+parts[3], disk)
	defer n.c.MustRBD(n.site, "rm", "--no-progress", disk)
	if got := n.c.SumOf(n.site, disk); got != n.c.sum {
		n.c.T.Errorf("the clone reads as %s, want %s", got, n.c.sum)
	}
}

// boot clones an image by Nova's procedure: when no location can be cloned it has the image copied to the site's store and
// asks until it is there. Nova takes 400 for a copy that somebody else has begun, and any other refusal for the end.
func (n compute) boot(id, disk string) {
	n.c.T.Helper()
	img := n.get(id)
	parts, err := n.locate(img)
	if err != nil {
		n.c.T.Logf("%s: %v, so it is copied", n.site, err)
		body := lab.Object{"method": lab.Object{"name": "copy-image"}, "stores": []string{n.site}, "all_stores_must_succeed": false}
		n.user.Call(http.MethodPost, "/site/"+n.site+"/v2/images/"+id+"/import", body, "X-Service-Token", n.c.Nova.Token()).
			Is(http.StatusAccepted, http.StatusBadRequest)
		lab.Eventually(n.c.T, 2*time.Minute, "the copy for "+disk, func() error {
			img = n.get(id)
			switch {
			case strings.Contains(img.Text("os_glance_failed_import"), n.site):
				n.c.T.Fatalf("the copy has failed: %v", img)
			case strings.Contains(img.Text("os_glance_importing_to_stores"), n.site), !strings.Contains(img.Text("stores"), n.site):
				return fmt.Errorf("image: %v", img)
			}
			return nil
		})
		if parts, err = n.locate(n.get(id)); err != nil {
			n.c.T.Fatalf("%s: %v", n.site, err)
		}
	}
	n.clone(parts, disk)
}

// novaBoots starts two instances of one new image at the same time at a site that does not have it.
func novaBoots(c *cloud) {
	for _, visibility := range []string{"public", "private"} {
		owner := c.Admin
		if visibility == "private" {
			owner = c.Demo
		}
		id := c.create(owner, lab.Object{"visibility": visibility})
		c.T.Run("two at once, "+visibility, func(t *testing.T) {
			for _, name := range []string{"one", "two"} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					in := c.in(t)
					compute{in, "dcn0", in.Demo}.boot(id, name+"_"+id+"_disk")
				})
			}
		})
		c.holds(owner, id, "central", "dcn0")
		// The caller's site comes first, also at a site that the image is not at.
		for site, want := range map[string][]string{"dcn0": {"dcn0", "central"}, "central": {"central", "dcn0"}, "dcn1": {"central", "dcn0"}} {
			img := compute{c, site, c.Demo}.get(id)
			got := []string{}
			for _, l := range img.Objects("locations")[:2] {
				metadata, _ := l["metadata"].(map[string]any)
				got = append(got, lab.Object(metadata).Text("store"))
			}
			if !slices.Equal(got, want) || img.Text("direct_url") != img.Objects("locations")[0].Text("url") {
				c.T.Errorf("at %s: locations %v, direct_url %s", site, got, img.Text("direct_url"))
			}
		}
		if img := c.Demo.Image(id); img["locations"] != nil || img["direct_url"] != nil {
			c.T.Errorf("an ordinary user sees locations: %v", img)
		}
	}
}

// cinderClones asks for the locations with the service's own token, as Cinder does.
func cinderClones(c *cloud) {
	id := c.create(c.Demo, nil, "dcn1")
	path := "/site/dcn1/v2/images/" + id + "/locations"
	c.Demo.Call(http.MethodGet, path, nil).Is(http.StatusForbidden)
	answer := c.Nova.Call(http.MethodGet, path, nil).Is(http.StatusOK)
	all := lab.Object{}
	body := `{"locations":` + string(answer.Body) + `}`
	if err := jsonInto(body, &all); err != nil {
		c.T.Fatalf("%v: %s", err, answer.Body)
	}
	img := c.Demo.Image(id)
	img["locations"] = all["locations"]
	n := compute{c, "dcn1", c.Demo}
	parts, err := n.locate(img)
	if err != nil {
		c.T.Fatalf("no location can be cloned: %v\n%s", err, answer.Body)
	}
	n.clone(parts, "volume-"+id)
	if _, err := (compute{c, "dcn0", c.Demo}).locate(img); err == nil {
		c.T.Error("a site without a copy could clone")
	}
	qcow := c.queue(c.Demo, lab.Object{"disk_format": "qcow2"})
	if _, err := n.locate(c.Demo.Image(qcow)); err == nil {
		c.T.Error("an image without data could be cloned")
	}
}
