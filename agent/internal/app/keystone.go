package app

import (
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/auth/keystone"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// openKeystone returns a verifier that asks Keystone. Keystone need not be there yet.
func openKeystone(c KeystoneConfig, log hclog.Logger) (*keystone.Verifier, error) {
	password, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "image_api.keystone.password_file: cannot be read: %v", plain(err))
	}
	v, err := keystone.New(keystone.Options{
		AuthURL: c.URL, Username: c.User, Password: strings.TrimRight(string(password), "\r\n"), UserDomain: c.UserDomain,
		Project: c.Project, ProjectDomain: c.ProjectDomain, Region: c.Region, CAFile: c.CAFile,
		Log: log.Named("keystone"), Now: time.Now,
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "image_api.keystone: the settings cannot be used")
	}
	return v, nil
}
