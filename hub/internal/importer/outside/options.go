// Package outside gets data from addresses that users name, which is the one way in which a user makes the hub connect to
// something. Everything that the hub fetches for a user comes through here.
//
// What may be fetched is decided three times: by the text of the URL (its scheme, host and port), by the text of every URL
// that a redirect leads to, and by each address at the moment it is dialled. Only the last one cannot be deceived by names
// that change their address.
package outside

import (
	"net"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Options say what may be fetched, and how long it may take. The zero value is right for users who are not trusted.
type Options struct {
	// Schemes, hosts and ports of URLs. One of a list of allowed ones must match when that list is not empty, none of the
	// denied ones. Hosts are names, "*.example.org" for all below one, or addresses. Ports may be ranges such as
	// "8000-8999". Default: http and https, all hosts, ports 80 and 443.
	AllowSchemes, DenySchemes []string
	AllowHosts, DenyHosts     []string
	AllowPorts, DenyPorts     []string
	// Networks, as CIDR or single addresses, whose addresses may be dialled although they are private or special, or may not
	// although they are public. The longest match decides; of two equal ones, the denied.
	AllowNetworks, DenyNetworks []string
	// Operator says that the callers are the operator: without lists of their own, networks and ports of this machine and of
	// private networks are allowed.
	Operator bool
	// CAFile names certificates that those of sources are checked with; empty: those of the system.
	CAFile string

	// Connections is over how many connections the data of one source comes, 1 to 16, where it is long, its server can begin in
	// the middle and says how to know that the data is the same; default 4. Each takes 8 MiB of memory, and there are 8 MiB
	// more.
	Connections int

	Connect  time.Duration // for a connection; all that cannot be reached takes so long to fail; default 10 s
	Header   time.Duration // for the beginning of an answer, redirects included; default 1 minute
	Stall    time.Duration // longest silence of a source; default 1 minute
	Resolver *net.Resolver // nil: that of the system

	segment int64 // bytes that one request over one of several connections asks for; default 8 MiB
	large   int64 // bytes that have to be left for several connections; default 64 MiB
}

// maxConnections bounds Options.Connections: a server that more connections would help is protected from them.
const maxConnections = 16

// parallel sets what is not set of how data comes over several connections.
func (o *Options) parallel() error {
	if o.Connections == 0 {
		o.Connections = 4
	}
	if o.Connections < 1 || o.Connections > maxConnections {
		return fault.BadField("import-connections", "must be 1 to %d", maxConnections)
	}
	if o.segment == 0 {
		o.segment, o.large = segmentBytes, largeBytes
	}
	return nil
}

// ForRegions returns the options for addresses that the operator's service catalog names: any port and any host, private
// networks too. Networks that the operator denies stay denied.
func (o Options) ForRegions() Options {
	o.AllowSchemes, o.DenySchemes, o.AllowHosts, o.DenyHosts, o.DenyPorts = nil, nil, nil, nil, nil
	o.AllowPorts = anyPort
	o.AllowNetworks = append(append([]string(nil), private...), o.networks()...)
	return o
}

var (
	anyPort   = []string{"1-65535"}
	webPorts  = []string{"80", "443"}
	webScheme = []string{"http", "https"}
)

func (o Options) schemes() []string { return or(o.AllowSchemes, webScheme) }

func (o Options) ports() []string {
	if o.Operator {
		return or(o.AllowPorts, anyPort)
	}
	return or(o.AllowPorts, webPorts)
}

// networks returns the networks that are allowed besides public ones.
func (o Options) networks() []string {
	if o.Operator && len(o.AllowNetworks) == 0 {
		return append(append([]string(nil), private...), loopback...)
	}
	return o.AllowNetworks
}

func or(list, otherwise []string) []string {
	if len(list) == 0 {
		return otherwise
	}
	return list
}
