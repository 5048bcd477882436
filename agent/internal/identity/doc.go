// Package identity keeps the agent's key and certificate: it gets the first one for a join token, renews it well before it
// expires, and hands out the current one, so that new connections use it without a restart.
package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/pki"
	"github.com/atoll-dcn/atoll/pkg/rpc"
)

// callTimeout bounds one call to the hub.
const callTimeout = 30 * time.Second

// file returns the path of the identity in a state directory.
func file(stateDir string) string { return filepath.Join(stateDir, "identity.pem") }

// dial returns a connection to the hub's link address, for one call.
func dial(target string, config *tls.Config, version string) (*grpc.ClientConn, error) {
	return rpc.Dial(target, rpc.DialOptions{TLS: config, UserAgent: "atoll-agent/" + version})
}

// accept puts together an identity from what the hub has answered, and checks all of it: the certificate belongs to the
// key, was issued by one of the CAs and names the site.
func accept(key *ecdsa.PrivateKey, now time.Time, site image.SiteID, cert []byte, cas [][]byte) (*pki.Identity, error) {
	bad := func(err error) error {
		return fault.Wrap(err, fault.Precondition, "BAD_ANSWER", "the hub has answered with a certificate that this agent cannot use")
	}
	id := &pki.Identity{Key: key}
	var err error
	if id.Cert, err = x509.ParseCertificate(cert); err != nil {
		return nil, bad(err)
	}
	for _, der := range cas {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, bad(err)
		}
		id.CAs = append(id.CAs, ca)
	}
	if err := id.Fits(); err != nil {
		return nil, bad(err)
	}
	got, err := pki.VerifyAgent(now, id.CAs, id.Cert)
	if err != nil {
		return nil, err // says what is wrong, for example with the clocks
	}
	if got != site {
		return nil, bad(fault.New(fault.Precondition, "BAD_ANSWER", "it is for site %s", got))
	}
	return id, nil
}
