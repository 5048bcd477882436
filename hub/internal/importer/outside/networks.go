package outside

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

var (
	loopback = []string{"127.0.0.0/8", "::1/128"}
	private  = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}
)

// special are the networks that no user may reach unless the operator lists them or a part of them. Single addresses are
// the metadata services of clouds: a list that allows the network around them does not open them. Sources: the IANA
// registries of special-purpose addresses of IPv4 and IPv6, and the documentation of the clouds.
var special = []string{
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", // private
	"127.0.0.0/8", "::1/128", // this machine
	"169.254.0.0/16", "fe80::/10", "fec0::/10", // link-local, and site-local as it was
	"169.254.169.254/32", "169.254.170.2/32", "fd00:ec2::254/128", "fd20:ce::254/128", // metadata: nearly all clouds
	"100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", // metadata: others
	"100.64.0.0/10",                                   // carriers' NAT
	"192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", // protocols, relays, benchmarks
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
	"::/0",                                    // all of IPv6 but what follows:
	"64:ff9b:1::/48",                          // NAT64 of a local kind: whom it reaches cannot be told
	"2001::/23", "2001:db8::/32", "3fff::/20", // protocols such as Teredo, documentation
}

// global are the parts of special networks that are as public as others.
var global = []string{
	"2000::/3",
	"64:ff9b::/96", "2002::/16", // NAT64 and 6to4: the address inside is judged too
}

// never are networks that no list opens: nothing that can be fetched from has such an address.
var never = prefixes(
	"0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", // this machine, multicast, reserved and broadcast
	"::/128", "ff00::/8", // this machine, multicast
	"::ffff:0:0:0/96", // translated addresses, which never leave a machine
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// verdict is what is said of a network. Of equally long ones the greater rank decides.
type verdict struct {
	network netip.Prefix
	rank    int
}

// Ranks: the operator's lists beat what is built in, a denial beats a permission.
const (
	builtInAllow = iota
	builtInDeny
	listedAllow
	listedDeny
)

// table says of every address whether it may be dialled. Immutable.
type table struct {
	verdicts []verdict
	own      bool // whether this machine's own addresses are like others
}

func newTable(o Options) (table, error) {
	t := table{own: o.Operator}
	for _, l := range []struct {
		field    string
		networks []string
		rank     int
	}{
		{"", special, builtInDeny},
		{"", global, builtInAllow},
		{"import-allow-networks", o.networks(), listedAllow},
		{"import-deny-networks", o.DenyNetworks, listedDeny},
	} {
		for _, text := range l.networks {
			p, err := parseNetwork(l.field, text)
			if err != nil {
				return t, err
			}
			t.verdicts = append(t.verdicts, verdict{p, l.rank})
		}
	}
	return t, nil
}

// parseNetwork reads a network or a single address.
func parseNetwork(field, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil && a.Zone() == "" {
			a = a.Unmap()
			return netip.PrefixFrom(a, a.BitLen()), nil
		}
		return netip.Prefix{}, fault.BadField(field, "%q is not a network such as 10.20.0.0/16", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fault.BadField(field, "%q has bits beyond its length; %s is the network", text, p.Masked())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fault.BadField(field, "%q: write networks of IPv4 as such", text)
	}
	return p, nil
}

// allows reports whether an address may be dialled. One that carries another is allowed when both are.
func (t table) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return false
	}
	for _, p := range never {
		if p.Contains(a) {
			return false
		}
	}
	built, listed := t.best(a, builtInAllow, builtInDeny), t.best(a, listedAllow, listedDeny)
	switch {
	case listed.network.IsValid() && (built.rank == builtInAllow || listed.network.Bits() >= built.network.Bits()):
		if listed.rank == listedDeny {
			return false
		}
	case built.rank == builtInDeny:
		return false
	case !t.own && ofThisMachine(a):
		return false // a service that listens here may trust those who connect from here
	}
	inner, ok := carried(a)
	return !ok || t.allows(inner)
}

// best returns the longest network around a whose rank is one of two; no valid one when there is none.
func (t table) best(a netip.Addr, ranks ...int) (best verdict) {
	for _, v := range t.verdicts {
		longer := v.network.Bits() - best.network.Bits() // no network at all has -1 bits
		if slices.Contains(ranks, v.rank) && v.network.Contains(a) && (longer > 0 || longer == 0 && v.rank > best.rank) {
			best = v
		}
	}
	return best
}

// carried returns the IPv4 address to which packets for a go in the end.
func carried(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// ofThisMachine reports whether a is an address of this machine.
func ofThisMachine(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, o := range own {
		text, _, _ := strings.Cut(o.String(), "/")
		if ip, err := netip.ParseAddr(text); err == nil && ip.Unmap().WithZone("") == a {
			return true
		}
	}
	return false
}
