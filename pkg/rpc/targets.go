package rpc

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Targets returns the parts of a target that names several servers, separated by commas.
func Targets(target string) []string {
	parts := strings.Split(target, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// resolve returns what gRPC dials for a target. Of several addresses the first is used that answers; the connection stays
// there until it breaks. Each server is expected to have a certificate for its own address, unless the TLS configuration
// names another.
func resolve(target string) (string, []grpc.DialOption, error) {
	parts := Targets(target)
	if len(parts) == 1 {
		return target, nil, nil
	}
	const scheme = "atoll-hubs"
	r := manual.NewBuilderWithScheme(scheme)
	var state resolver.State
	for _, p := range parts {
		if p == "" || strings.HasPrefix(p, "unix:") {
			return "", nil, fault.New(fault.Invalid, "INVALID_ADDRESS", "%q is not a list of addresses HOST:PORT,HOST:PORT", target)
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p, ServerName: p}}})
	}
	r.InitialState(state)
	return scheme + ":///hub", []grpc.DialOption{grpc.WithResolvers(r)}, nil
}
