package imageapi

import "strconv"

type versionLink struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

type version struct {
	ID     string        `json:"id"`
	Status string        `json:"status"`
	Links  []versionLink `json:"links"`
}

type versions struct {
	Versions []version `json:"versions"`
}

// versionList returns the versions that are served below base: those of an installation with several stores and without
// a cache, newest first.
func versionList(base string) versions {
	links := []versionLink{{Rel: "self", Href: base + "/v2/"}}
	var list versions
	add := func(minor int, status string) {
		list.Versions = append(list.Versions, version{ID: "v2." + strconv.Itoa(minor), Status: status, Links: links})
	}
	add(newestMinor, "CURRENT")
	add(15, "SUPPORTED") // 2.16 and 2.14 stand for the cache
	for minor := 13; minor >= 0; minor-- {
		add(minor, "SUPPORTED")
	}
	return list
}
