// Package standby lets every hub take every connection while only one of them leads.
//
// A hub accepts on its ports from its start. While another hub leads, a connection is passed on, byte for byte, to the
// same kind of port of that hub: TLS ends there, so who the caller is stays between the caller and the leader. While this
// hub leads, its servers accept the connection. While nobody leads it is held for a moment, because somebody soon will.
//
// Between hubs a connection begins with a header: the secret of the hub that is meant, which only hubs can read in the
// store of records, and the address of the caller, so that logs and limits by address stay true. What came with a header
// is never passed on again, so connections do not go in circles.
package standby

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Kind is what is spoken on a port.
type Kind string

// The kinds of ports.
const (
	Image  Kind = "image"
	GRPC   Kind = "grpc"
	Link   Kind = "link"
	Frames Kind = "frames"
)

// codes are the kinds as headers have them.
var codes = map[Kind]byte{Image: 1, GRPC: 2, Link: 3, Frames: 4}

// private reports whether a port is for users: one that listens on loopback only may rely on that for its safety.
func (k Kind) private() bool { return k == Image || k == GRPC }

// Note is what the hub that leads tells the others.
type Note struct {
	// Addresses says where its ports are, HOST:PORT.
	Addresses map[Kind]string `json:"addresses"`
	// Network names the machine or container in which its loopback addresses mean it.
	Network string `json:"network"`
	// Secret is what connections begin with that other hubs pass on, in hex.
	Secret string `json:"secret"`
}

// ParseNote reads the text of a note. Unavailable when it is empty, so that nobody takes requests yet, or not a note.
func ParseNote(text string) (*Note, error) {
	n := &Note{}
	if err := json.Unmarshal([]byte(text), n); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "NO_LEADER", "the hub that leads does not say where it can be reached")
	}
	return n, nil
}

// String returns the note as ParseNote reads it.
func (n *Note) String() string {
	b, _ := json.Marshal(n) //nolint:gosec // strings always encode; the note is for hubs only
	return string(b)
}

// Advertised returns the address under which other hubs reach a port that listens at addr. A loopback address stays what it
// is. host is what the operator says; when empty it is the address itself or, when that is a wildcard, the machine's name.
func Advertised(addr net.Addr, host string) (string, error) {
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "NO_ADDRESS", "a port without an address")
	}
	switch {
	case a.Addr().Unmap().IsLoopback():
		host = a.Addr().Unmap().String()
	case host != "":
	case !a.Addr().IsUnspecified():
		host = a.Addr().Unmap().String()
	default:
		if host, err = os.Hostname(); err != nil {
			return "", fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "advertise-host: is required, this machine has no name")
		}
	}
	_, port, err := net.SplitHostPort(addr.String())
	return net.JoinHostPort(host, port), err
}

// Network returns the name of the network that this process's loopback addresses belong to: the machine's, or the
// container's.
func Network() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return string(image.NewID()) // like no other
	}
	space, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return string(image.NewID())
	}
	return strings.TrimSpace(string(boot)) + " " + space
}

// isLoopback reports whether HOST:PORT is on this machine.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
