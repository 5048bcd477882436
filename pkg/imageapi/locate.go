package imageapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

const (
	newestMinor = 17 // of version 2
	acceptStart = "application/vnd.openstack.images-"
)

// address is what the path of a request means.
type address struct {
	prefix   string // "" or "/site/NAME"
	site     image.SiteID
	health   bool
	versions int      // status to answer with the list of versions; 0: not the list
	segments []string // of the path below prefix, the first being "v2"
}

// locate finds out what the path of a request means: the site in front, then the version, which may be in the Accept
// header instead.
func (s *service) locate(r *http.Request) (address, error) {
	segments, err := split(r.URL)
	if err != nil {
		return address{}, err
	}
	if len(segments) == 1 && segments[0] == "healthcheck" {
		return address{health: true}, nil
	}
	var a address
	if s.o.Sites && len(segments) >= 2 && segments[0] == "site" {
		site, err := image.ParseSiteID("site", segments[1])
		if err != nil {
			return a, fault.New(fault.NotFound, "SITE_NOT_FOUND", "No site called %s", clip(segments[1]))
		}
		a.site, a.prefix, segments = site, "/site/"+string(site), segments[2:]
	}
	first := ""
	if len(segments) > 0 {
		first = segments[0]
	}
	accepted, named := strings.CutPrefix(r.Header.Get("Accept"), acceptStart)
	switch {
	case first == "versions" && len(segments) == 1:
		a.versions = http.StatusOK
	case named && !isVersion(accepted):
		a.versions = http.StatusMultipleChoices
	case isVersion(first):
		a.segments = segments
		a.segments[0] = "v2"
	case named && len(segments) > 0:
		a.segments = append([]string{"v2"}, segments...)
	default:
		a.versions = http.StatusMultipleChoices
	}
	return a, nil
}

// split returns the unescaped segments of a path, so that an escaped slash is a part of its segment.
func split(u *url.URL) ([]string, error) {
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	if path == "" {
		return nil, nil
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if !strings.Contains(segment, "%") {
			continue
		}
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return nil, fault.New(fault.Invalid, "INVALID_URL", "the path of the URL is not escaped correctly")
		}
		segments[i] = plain
	}
	return segments, nil
}

// isVersion reports whether name is "v2" or one of "v2.0" to the newest.
func isVersion(name string) bool {
	if name == "v2" {
		return true
	}
	minor, ok := strings.CutPrefix(name, "v2.")
	if !ok {
		return false
	}
	n, err := strconv.Atoi(minor)
	return err == nil && n >= 0 && n <= newestMinor && strconv.Itoa(n) == minor
}

// base returns the URL that clients know the service by, without a slash at its end.
func (s *service) base(r *http.Request) string {
	if s.o.PublicEndpoint != "" {
		return strings.TrimSuffix(s.o.PublicEndpoint, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
