package image

import "net/url"

// Location is where a published copy is.
type Location struct {
	Driver string // "ceph" or "file"
	FSID   string
	Pool   string
	Image  ID
}

// URL returns the location in the form that Nova and Cinder parse: rbd://FSID/POOL/IMAGE/snap, each part percent-encoded.
// The file driver's copies get the scheme file, so that nothing takes them for RBD.
func (l Location) URL() string {
	scheme := "rbd"
	if l.Driver == "file" {
		scheme = "file"
	}
	return scheme + "://" + url.PathEscape(l.FSID) + "/" + url.PathEscape(l.Pool) + "/" + url.PathEscape(string(l.Image)) + "/snap"
}
