package imageapi

import "github.com/atoll-dcn/atoll/pkg/auth"

// IsMember reports whether the image is shared with the caller's project, accepted or not.
func IsMember(img *Image, c *auth.Caller) bool { return membership(img, c) != "" }

// membership returns the status by which the caller's project is a member of a shared image, empty when it is none.
func membership(img *Image, c *auth.Caller) string {
	if img.Visibility != Shared || c == nil || c.ProjectID == "" {
		return ""
	}
	for i := range img.Members {
		if img.Members[i].ProjectID == c.ProjectID {
			return img.Members[i].Status
		}
	}
	return ""
}

// owns reports whether the image belongs to the caller's project.
func owns(img *Image, c *auth.Caller) bool {
	return c != nil && img.Owner != "" && img.Owner == c.ProjectID
}

// VisibleTo reports whether the caller may know the image by its id: it is public, of the community, owned by nobody or
// by the caller's project, or shared with it. Administrators see all images; that is for the caller of VisibleTo to say.
func VisibleTo(img *Image, c *auth.Caller) bool {
	return img.Visibility == Public || img.Visibility == Community || img.Owner == "" || owns(img, c) || IsMember(img, c)
}
