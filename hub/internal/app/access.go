package app

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/glance"
	"github.com/atoll-dcn/atoll/hub/internal/importer/inject"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/trust"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/auth/keystone"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/policy"
	"github.com/atoll-dcn/atoll/pkg/rpc"
)

// The ways to find out who users are.
const (
	authNone     = "none"
	authTokens   = "tokens"
	authKeystone = "keystone"
)

// checkAccess returns the first thing that is wrong with who may connect.
func (c *Config) checkAccess() error {
	a := &c.Access
	switch a.Auth {
	case authNone:
		for _, addr := range []struct{ name, value string }{{"grpc-addr", c.GRPCAddr}, {"image-addr", c.Image.Addr}} {
			if addr.value != "" && !isLoopback(addr.value) {
				return fault.BadField(addr.name, "%q is not a loopback address such as 127.0.0.1:9393; others need --auth", addr.value)
			}
		}
	case authTokens:
		if a.TokensFile == "" {
			return fault.BadField("tokens-file", "is required with --auth tokens")
		}
	case authKeystone:
		if a.Keystone.AuthURL == "" || a.PasswordFile == "" {
			return fault.BadField("keystone-url", "and keystone-password-file are required with --auth keystone")
		}
	default:
		return fault.BadField("auth", "%q is not none, tokens or keystone", a.Auth)
	}
	switch {
	case (a.TLSCert == "") != (a.TLSKey == ""):
		return fault.BadField("tls-cert", "and tls-key belong together")
	case a.TLSCert == "" && !isLoopback(c.GRPCAddr):
		return fault.BadField("grpc-addr", "%q is not a loopback address; tokens would cross the network in the clear without --tls-cert", c.GRPCAddr)
	case a.Rate < 0 || a.Rate > 0 && a.Burst < 1:
		return fault.BadField("rate-limit", "must not be negative, and rate-burst at least 1")
	}
	return nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// access is what decides about requests of users.
type access struct {
	verifier auth.Verifier
	policy   *policy.Enforcer
	limit    func(*auth.Caller) error // nil: no limit
	grpcTLS  *tls.Config              // nil: no TLS
	httpTLS  *tls.Config              // nil: no TLS
	regions  glance.Regions           // nil: nobody knows other regions
	authURI  string                   // where clients get tokens; empty: not said
	fetch    fetchers
	// signatures checks those of images; never nil.
	signatures *trust.Signatures
	inject     *inject.Rules // properties of imported images
}

// openAccess reads the files of an AccessConfig. A mistake in one of them stops the start.
func openAccess(all Config, log hclog.Logger) (*access, error) {
	a, c := &access{}, all.Access
	var err error
	if a.fetch, err = outsideOf(all); err != nil {
		return nil, err
	}
	if a.inject, err = inject.Parse(all.Inject.Properties, all.Inject.IgnoreRoles); err != nil {
		return nil, err
	}
	a.policy, err = policy.New(policy.Options{
		File: c.PolicyFile, Dir: c.PolicyDir, ProtectionFile: c.ProtectionFile, ProtectionFormat: c.ProtectionFormat,
		Log: log.Named("policy"), Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	if c.Rate > 0 {
		a.limit = auth.NewLimiter(c.Rate, c.Burst, time.Now).Allow
	}
	if c.TLSCert != "" {
		if a.grpcTLS, err = rpc.ServerTLS(c.TLSCert, c.TLSKey, "h2"); err != nil {
			return nil, err
		}
		if a.httpTLS, err = rpc.ServerTLS(c.TLSCert, c.TLSKey, "http/1.1"); err != nil {
			return nil, err
		}
	}
	if err := a.openVerifier(c, log); err != nil {
		return nil, err
	}
	a.signatures, err = openSignatures(all, a, log.Named("signatures"))
	return a, err
}

// openVerifier prepares to find out who callers are.
func (a *access) openVerifier(c AccessConfig, log hclog.Logger) (err error) {
	switch c.Auth {
	case authTokens:
		a.verifier, err = auth.OpenTokens(c.TokensFile, time.Now, log.Named("tokens"))
		return err
	case authKeystone:
		return a.openKeystone(c, log.Named("keystone"))
	default:
		log.Warn("NO AUTHENTICATION: everybody on this machine is an administrator; use --auth for anything but a test")
		a.verifier = auth.None("")
		return nil
	}
}

// fetchers get what users name, and what Keystone's catalog names.
type fetchers struct{ users, regions *outside.Client }

// outsideOf returns the fetchers of a configuration. Without authentication the caller is the operator.
func outsideOf(c Config) (f fetchers, err error) {
	c.Import.Operator = c.Access.Auth == authNone
	if f.users, err = outside.New(c.Import); err == nil {
		f.regions, err = outside.New(c.Import.ForRegions())
	}
	return f, err
}

func (a *access) openKeystone(c AccessConfig, log hclog.Logger) error {
	password, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "keystone-password-file: cannot be read")
	}
	o := c.Keystone
	o.Password = strings.TrimRight(string(password), "\r\n")
	o.Log, o.Now = log, time.Now
	k, err := keystone.New(o)
	if err != nil {
		return err
	}
	a.verifier, a.regions, a.authURI = k, k, o.AuthURL
	return nil
}

// serverOptions are those of the gRPC API.
func (a *access) serverOptions(log hclog.Logger) rpc.ServerOptions {
	guard := rpc.Authentication{Verifier: a.verifier, Limit: a.limit}
	return rpc.ServerOptions{
		Log: log, Public: true, TLS: a.grpcTLS,
		Unary:  []grpc.UnaryServerInterceptor{guard.Unary},
		Stream: []grpc.StreamServerInterceptor{guard.Stream},
	}
}
