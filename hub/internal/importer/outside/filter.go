package outside

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

const maxURI = 2048 // bytes

// filter decides what may be fetched. Immutable.
type filter struct {
	schemes, deniedSchemes []string
	hosts, deniedHosts     hosts
	ports, deniedPorts     ports
	networks               table
}

func newFilter(o Options) (*filter, error) {
	f := &filter{schemes: o.schemes(), deniedSchemes: o.DenySchemes}
	for _, s := range append(slices.Clone(f.schemes), f.deniedSchemes...) {
		if !slices.Contains(webScheme, s) {
			return nil, fault.BadField("import-allow-schemes", "%q is not http or https, which are the only ones there are", s)
		}
	}
	var err error
	if f.hosts, err = parseHosts("import-allow-hosts", o.AllowHosts); err != nil {
		return nil, err
	}
	if f.deniedHosts, err = parseHosts("import-deny-hosts", o.DenyHosts); err != nil {
		return nil, err
	}
	if f.ports, err = parsePorts("import-allow-ports", o.ports()); err != nil {
		return nil, err
	}
	if f.deniedPorts, err = parsePorts("import-deny-ports", o.DenyPorts); err != nil {
		return nil, err
	}
	f.networks, err = newTable(o)
	return f, err
}

// check returns an Invalid error when a URL may not be fetched whatever its host's name stands for. The text is of the
// rules only, so that nothing can be learned from it about what is there.
func (f *filter) check(uri string) error {
	u, err := url.Parse(uri)
	if uri == "" || len(uri) > maxURI || err != nil {
		return fault.BadField("uri", "must be an http or https URL of at most %d characters", maxURI)
	}
	return f.checkURL(u)
}

func (f *filter) checkURL(u *url.URL) error {
	if !slices.Contains(f.schemes, u.Scheme) || slices.Contains(f.deniedSchemes, u.Scheme) || u.Opaque != "" {
		return fault.BadField("uri", "must begin with http:// or https://, as far as this installation allows them")
	}
	h, err := hostOf(u)
	if err != nil {
		return err
	}
	port, err := portOf(u)
	switch {
	case err != nil:
		return err
	case !f.ports.contain(port) || f.deniedPorts.contain(port):
		return fault.BadField("uri", "port %d is not allowed", port)
	case len(f.hosts) > 0 && !f.hosts.contain(h), f.deniedHosts.contain(h), h.addr.IsValid() && !f.networks.allows(h.addr):
		return fault.BadField("uri", "the host is not allowed")
	}
	return nil
}

func portOf(u *url.URL) (uint16, error) {
	switch text := u.Port(); {
	case text != "":
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return 0, fault.BadField("uri", "has no valid port")
		}
		return uint16(n), nil
	case u.Scheme == "https":
		return 443, nil
	default:
		return 80, nil
	}
}

// control decides on an address that is about to be dialled. It is a net.Dialer's ControlContext.
func (f *filter) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !f.networks.allows(to.Addr()) {
		return errRefused
	}
	return nil
}
