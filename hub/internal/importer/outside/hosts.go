package outside

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// host is the host of a URL: a name in lower case without a final dot, or an address.
type host struct {
	name string
	addr netip.Addr // not valid for a name
}

var (
	// names are what can be asked of DNS. Other scripts come as punycode, so that no letter can look like another one.
	names = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	// numeric is the last part of what some resolvers take for an address: 127.1, 2130706433, 0x7f000001, 0177.0.0.1.
	numeric = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)
)

const maxHostName = 253

// hostOf returns the host of a URL. An address must be written in its usual form: others are read in different ways by
// different programs.
func hostOf(u *url.URL) (host, error) {
	text := strings.ToLower(u.Hostname())
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return host{}, fault.BadField("uri", "the address of the host must not name a zone")
		}
		return host{name: a.Unmap().String(), addr: a.Unmap()}, nil
	}
	text = strings.TrimSuffix(text, ".")
	last := text[strings.LastIndexByte(text, '.')+1:]
	switch {
	case text == "":
		return host{}, fault.BadField("uri", "has no host")
	case numeric.MatchString(last) || strings.HasPrefix(u.Host, "["):
		return host{}, fault.BadField("uri", "the address of the host must be written as in 192.0.2.1 or [2001:db8::1]")
	case len(text) > maxHostName || !names.MatchString(text):
		return host{}, fault.BadField("uri", "the host must be a name or an address")
	}
	return host{name: text}, nil
}

// hosts is a list of hosts.
type hosts []string

func parseHosts(field string, texts []string) (hosts, error) {
	var out hosts
	for _, text := range texts {
		name, below := strings.CutPrefix(strings.ToLower(text), "*.")
		h, err := hostOf(&url.URL{Host: bracketed(name)})
		if err != nil || below && h.addr.IsValid() {
			return nil, fault.BadField(field, "%q is not a host such as example.org, *.example.org or 192.0.2.1", text)
		}
		if below {
			h.name = "." + h.name
		}
		out = append(out, h.name)
	}
	return out, nil
}

// bracketed returns a host as URLs have it.
func bracketed(name string) string {
	if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		return "[" + name + "]"
	}
	return name
}

func (l hosts) contain(h host) bool {
	for _, name := range l {
		if name == h.name || strings.HasPrefix(name, ".") && !h.addr.IsValid() && strings.HasSuffix(h.name, name) {
			return true
		}
	}
	return false
}
