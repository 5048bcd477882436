package imageapi

import (
	"net/http"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// list answers with a page of the images that the caller may know of.
func (rd *Reads) list(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	c := auth.From(r.Context())
	if !rd.Policy.Allowed(c, "get_images", ownTarget(c)) {
		return denied("get_images")
	}
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	admin := rd.admin(c)
	s := selection{images: rd.Source.Images(), order: q.order, limit: q.limit}
	if q.hasMarker {
		if s.after = rd.marker(q.marker, c, admin); s.after == nil {
			return badQuery("Invalid marker: %s is not an image.", clip(q.marker))
		}
	}
	if !rd.readable(c, q.properties) {
		s.limit = 0
	}
	s.wanted = func(img *Image) bool { return q.matches(img) && listed(img, c, admin, q) }
	writePage(w, rd, c, q, s.pick())
	return nil
}

// readable reports whether the caller may read all the properties. A list must not tell the values of others.
func (rd *Reads) readable(c *auth.Caller, names []string) bool {
	if !rd.Policy.Protected() {
		return true
	}
	for _, name := range names {
		if !rd.Policy.Property(c, name, policy.Read) {
			return false
		}
	}
	return true
}

// ownTarget is the target of rules about the caller's own project.
func ownTarget(c *auth.Caller) policy.Target {
	if c == nil {
		return policy.Map{}
	}
	return policy.Map{"project_id": c.ProjectID, "owner": c.ProjectID}
}

// marker returns the image that a page starts after, nil when the caller knows of none with this id.
func (rd *Reads) marker(text string, c *auth.Caller, admin bool) *Image {
	id, ok := parseID(text)
	if !ok {
		return nil
	}
	img := rd.Source.Image(id)
	if img == nil || !admin && !VisibleTo(img, c) {
		return nil
	}
	return img
}

// listed reports whether the image appears in the lists of the caller at all. Without a wish for a visibility, what
// belongs to the community appears in its owner's lists only.
func listed(img *Image, c *auth.Caller, admin bool, q *query) bool {
	own := owns(img, c)
	switch q.visibility {
	case "":
		if img.Visibility == Community && !own {
			return false
		}
	case "all":
	default:
		if string(img.Visibility) != q.visibility {
			return false
		}
	}
	if admin || own || img.Visibility == Public || img.Visibility == Community {
		return true
	}
	status := membership(img, c)
	return status != "" && (q.memberStatus == "all" || q.memberStatus == status)
}

// pages are what lists are put together in.
var pages = sync.Pool{New: func() any { b := make([]byte, 0, 128<<10); return &b }}

// writePage answers with the images of a page, without those that a rule hides.
func writePage(w http.ResponseWriter, rd *Reads, c *auth.Caller, q *query, page []*Image) {
	scratch, ok := pages.Get().(*[]byte)
	if !ok {
		scratch = new([]byte)
	}
	b := append((*scratch)[:0], `{"images":[`...)
	last := ""
	for _, img := range page {
		if !rd.Policy.Allowed(c, "get_image", img.Target(c)) {
			continue
		}
		if last != "" {
			b = append(b, ',')
		}
		b, last = rd.appendImage(b, c, img), string(img.ID)
	}
	b = appendPair(append(b, ']', ','), "first", q.link(""))
	if last != "" && len(page) == q.limit {
		b = appendPair(append(b, ','), "next", q.link(last))
	}
	b = append(b, `,"schema":"/v2/schemas/images"}`...)
	writeBytes(w, http.StatusOK, b)
	if cap(b) <= 4<<20 {
		*scratch = b
		pages.Put(scratch)
	}
}
