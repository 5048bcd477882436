package catalog

import storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"

// VisibilityWord returns a visibility as users write it. Records from before visibilities existed are shared.
func VisibilityWord(v storev1.Visibility) string {
	switch v {
	case storev1.Visibility_VISIBILITY_PRIVATE:
		return "private"
	case storev1.Visibility_VISIBILITY_COMMUNITY:
		return "community"
	case storev1.Visibility_VISIBILITY_PUBLIC:
		return "public"
	default:
		return "shared"
	}
}

// MemberWord returns what a project said to an image as users write it.
func MemberWord(s storev1.MemberStatus) string {
	switch s {
	case storev1.MemberStatus_MEMBER_STATUS_ACCEPTED:
		return "accepted"
	case storev1.MemberStatus_MEMBER_STATUS_REJECTED:
		return "rejected"
	default:
		return "pending"
	}
}
