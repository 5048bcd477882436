package osinfo

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// release is what os-release says of a system.
type release struct {
	distro, version string
}

// plain is what both values look like.
var plain = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// distros are the distributions whose ID in os-release is not the name that OpenStack's useful image properties and
// libosinfo have for them.
var distros = map[string]string{
	"alpine": "alpinelinux", "endless": "eos", "pop": "popos", "sles_sap": "sles",
	"opensuse-leap": "opensuse", "opensuse-leap-micro": "opensuse", "opensuse-microos": "opensuse", "opensuse-tumbleweed": "opensuse",
}

// parseRelease reads the variables ID and VERSION_ID of os-release (man 5 os-release), a list of assignments in the shell's
// syntax. errNotFound when it does not name the system.
func parseRelease(text []byte) (release, error) {
	if !utf8.Valid(text) {
		return release{}, unsure("os-release is not text")
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, raw, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || key != "ID" && key != "VERSION_ID" {
			continue
		}
		value, ok := unquote(raw)
		if !ok || value != "" && !plain.MatchString(value) {
			return release{}, unsure("os-release has a value that is none")
		}
		if old, twice := values[key]; twice && old != value {
			return release{}, unsure("os-release contradicts itself")
		}
		values[key] = value
	}
	r := release{distro: values["ID"], version: values["VERSION_ID"]}
	if r.distro == "" {
		return release{}, errNotFound
	}
	if name, ok := distros[r.distro]; ok {
		r.distro = name
	}
	return r, nil
}

// unquote returns the value of an assignment whose quotes, if any, enclose all of it. Nothing that needs escaping is a
// value here.
func unquote(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	if q := s[0]; q == '"' || q == '\'' {
		if len(s) < 2 || s[len(s)-1] != q {
			return "", false
		}
		s = s[1 : len(s)-1]
	}
	return s, !strings.ContainsAny(s, "\"'\\$` \t")
}
