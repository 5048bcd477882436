package app

import (
	"net"
	"net/url"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ImageAPIConfig says whether and how the site serves the Image API.
type ImageAPIConfig struct {
	Address          string         `json:"address"`
	HubImageURL      string         `json:"hub_image_url"`
	HubCAFile        string         `json:"hub_ca_file"`
	PublicEndpoint   string         `json:"public_endpoint"`
	Auth             string         `json:"auth"`
	TokensFile       string         `json:"tokens_file"`
	Keystone         KeystoneConfig `json:"keystone"`
	PolicyFile       string         `json:"policy_file"`
	PolicyDir        string         `json:"policy_dir"`
	ProtectionFile   string         `json:"property_protection_file"`
	ProtectionFormat string         `json:"property_protection_format"`
	TLSCert          string         `json:"tls_cert"`
	TLSKey           string         `json:"tls_key"`
}

// KeystoneConfig says how tokens are checked with Keystone.
type KeystoneConfig struct {
	URL           string `json:"url"`
	User          string `json:"user"`
	PasswordFile  string `json:"password_file"`
	UserDomain    string `json:"user_domain"`
	Project       string `json:"project"`
	ProjectDomain string `json:"project_domain"`
	Region        string `json:"region"`
	CAFile        string `json:"ca_file"`
}

// The ways to find out who users are.
const (
	authNone     = "none"
	authTokens   = "tokens"
	authKeystone = "keystone"
)

// check fills in defaults and returns the first thing that is wrong.
func (c *ImageAPIConfig) check() error {
	if c.Address == "" {
		if *c != (ImageAPIConfig{}) {
			return fault.BadField("image_api.address", "is required with the other fields of image_api, such as :9292")
		}
		return nil
	}
	if err := checkAddress("image_api.address", c.Address, ":9292"); err != nil {
		return err
	}
	if err := checkURL("image_api.hub_image_url", c.HubImageURL, "https://hub.example.net:9292"); err != nil {
		return err
	}
	if c.PublicEndpoint != "" {
		if err := checkURL("image_api.public_endpoint", c.PublicEndpoint, "https://images.dcn0.example.net"); err != nil {
			return err
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fault.BadField("image_api.tls_cert", "and tls_key belong together")
	}
	return c.checkAuth()
}

func (c *ImageAPIConfig) checkAuth() error {
	switch c.Auth {
	case authNone:
		if !loopback(c.Address) {
			return fault.BadField("image_api.address", "%q is not a loopback address such as 127.0.0.1:9292; others need auth", c.Address)
		}
	case authTokens:
		if c.TokensFile == "" {
			return fault.BadField("image_api.tokens_file", "is required with auth tokens")
		}
	case authKeystone:
		return c.Keystone.check()
	default:
		return fault.BadField("image_api.auth", "%q is not one of none, tokens, keystone", c.Auth)
	}
	return nil
}

func (c *KeystoneConfig) check() error {
	if err := checkURL("image_api.keystone.url", c.URL, "https://keystone.example.net:5000/v3"); err != nil {
		return err
	}
	if c.PasswordFile == "" {
		return fault.BadField("image_api.keystone.password_file", "is required with auth keystone")
	}
	for _, d := range []struct {
		value   *string
		missing string
	}{{&c.User, "atoll"}, {&c.UserDomain, "Default"}, {&c.Project, "service"}, {&c.ProjectDomain, "Default"}} {
		if *d.value == "" {
			*d.value = d.missing
		}
	}
	return nil
}

// checkURL returns an error unless s is an http or https URL without a query; example shows one.
func checkURL(field, s, example string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fault.BadField(field, "is not a URL such as %s", example)
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
