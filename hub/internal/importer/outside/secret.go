package outside

import "net/url"

// Harmless returns a URL without what may be a secret (user, password, query), so that it can be kept and shown; the URL
// itself when it has nothing of that, and nothing when it is no URL.
func Harmless(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.RawFragment == "" {
		return uri
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}
