package app

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/trust"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// SignatureConfig is about the signatures of images.
type SignatureConfig struct {
	TrustDir  string // empty: none
	Unchained bool
	Required  bool
	Interface string // of the key manager in the service catalog
}

// interfaces are those that endpoints of a service catalog have.
var interfaces = []string{"public", "internal", "admin"}

func (c *Config) signatures(f *pflag.FlagSet) {
	s := &c.Signature
	f.StringVar(&s.TrustDir, "signature-trust-dir", "",
		"directory of certificates of those who sign images (UUID.pem) and of the authorities they lead to (ca/*.pem); empty: none")
	f.BoolVar(&s.Unchained, "signature-unchained", false, "accept certificates of the key manager (Barbican) that lead to no trusted authority")
	f.BoolVar(&s.Required, "require-signatures", false, "refuse images that are not signed")
	f.StringVar(&s.Interface, "key-manager-interface", interfaces[0], "endpoint of the key manager that is used: "+strings.Join(interfaces, ", "))
}

// openSignatures reads the trust directory. Certificates that are not there come from the key manager, where users have one.
func openSignatures(c Config, a *access, log hclog.Logger) (*trust.Signatures, error) {
	o := trust.Config{Unchained: c.Signature.Unchained, Required: c.Signature.Required, Log: log, Now: time.Now}
	if !slices.Contains(interfaces, c.Signature.Interface) {
		return nil, fault.BadField("key-manager-interface", "must be one of %s", strings.Join(interfaces, ", "))
	}
	if dir := c.Signature.TrustDir; dir != "" {
		var err error
		if o.Directory, err = trust.OpenDirectory(dir); err != nil {
			return nil, err
		}
	}
	if a.regions != nil {
		o.Keys = &trust.Barbican{Endpoints: a.regions, Interface: c.Signature.Interface, Client: a.fetch.regions}
	}
	switch {
	case o.Unchained && o.Keys == nil:
		return nil, fault.BadField("signature-unchained", "is about the key manager, which needs --auth keystone")
	case o.Required && o.Directory == nil && o.Keys == nil:
		return nil, fault.BadField("require-signatures", "needs certificates: --signature-trust-dir, or a key manager with --auth keystone")
	}
	return trust.New(o), nil
}
