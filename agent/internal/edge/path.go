package edge

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// who says who answers a request.
type who int

const (
	site       who = iota // the site
	hubFirst              // the hub if it answers soon, else the site
	hubOnly               // the hub
	hubPatient            // the hub, which may take its time before it begins to answer
)

// target is what a request is about, as far as the choice needs it.
type target struct {
	kind  kind
	image image.ID // empty unless the path names one
}

// kind is what a path names.
type kind int

const (
	other     kind = iota // all that only the hub has
	discovery             // what every site can answer: versions, schemas, health
	list                  // images
	record                // an image
	members               // its members
	places                // its locations
	bytesOf               // its data
	stores                // the list of stores
)

var versionPattern = regexp.MustCompile(`^v2(\.[0-9]+)?$`)

// acceptVersion begins an Accept header that names the version of the API, so that the path does not.
const acceptVersion = "application/vnd.openstack.images-v2"

// parse returns what a request is about.
func parse(r *http.Request) target {
	rest := cutSite(r.URL)
	segments := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	switch {
	case versionPattern.MatchString(segments[0]):
		segments = segments[1:]
	case strings.HasPrefix(r.Header.Get("Accept"), acceptVersion) && segments[0] != "healthcheck" && segments[0] != "versions":
	default:
		return target{kind: discovery}
	}
	switch path := strings.Join(segments, "/"); {
	case path == "" || segments[0] == "schemas":
		return target{kind: discovery}
	case path == "images":
		return target{kind: list}
	case path == "info/stores" || path == "info/stores/detail":
		return target{kind: stores}
	case segments[0] != "images":
		return target{}
	}
	id, err := image.ParseID("id", segments[1])
	if err != nil {
		return target{}
	}
	t := target{image: id}
	switch tail := segments[2:]; {
	case len(tail) == 0:
		t.kind = record
	case tail[0] == "members" && len(tail) <= 2:
		t.kind = members
	case len(tail) == 1 && tail[0] == "locations":
		t.kind = places
	case len(tail) == 1 && tail[0] == "file":
		t.kind = bytesOf
	}
	return t
}

// cutSite returns the escaped path without "/site/NAME" in front.
func cutSite(u *url.URL) string {
	path := u.EscapedPath()
	name, ok := strings.CutPrefix(path, "/site/")
	if !ok {
		return path
	}
	_, rest, _ := strings.Cut(name, "/")
	return "/" + rest
}

// waits reports whether a request is one of those by which a compute or volume node finds out whether it can clone an image, or
// takes its data: an image by its id, its locations, its data. Who lists images waits for none of them.
func waits(method string, t target) bool {
	return method == http.MethodGet && (t.kind == record || t.kind == places || t.kind == bytesOf)
}

// view is what matters about the image of a request.
type view struct {
	known bool // the site knows it
	held  bool // and has a published copy
	sick  bool // whose store did not answer lately
	fresh bool // the hub's view is asked for
}

// choose says who answers a request.
func choose(method string, t target, v view) who {
	if method != http.MethodGet {
		switch {
		case t.kind == discovery:
			return site
		case method == http.MethodPut:
			return hubPatient // data may follow
		}
		return hubOnly
	}
	switch t.kind {
	case discovery:
		return site
	case list, stores:
		return hubFirst
	case record, members, places:
		return chooseRecord(v)
	case bytesOf:
		switch {
		case v.held && v.sick:
			return hubFirst
		case v.held:
			return site
		}
		return hubPatient
	default:
		return hubOnly
	}
}

func chooseRecord(v view) who {
	switch {
	case v.held && !v.fresh:
		return site
	case v.known:
		return hubFirst
	}
	return hubOnly
}
