// Package keystone gets the tokens that say who calls from OpenStack's identity service, with the credentials that
// OpenStack's own clients use: a cloud of clouds.yaml, or the OS_* variables of an openrc file.
package keystone

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Cloud is one cloud of clouds.yaml, or what the environment says. Everything may be empty.
type Cloud struct {
	Auth     Auth   `json:"auth"`
	AuthType string `json:"auth_type"`
	CACert   string `json:"cacert"` // PEM file of what to trust; empty means what this machine trusts
	Cert     string `json:"cert"`   // PEM file of a client certificate
	Key      string `json:"key"`
	Verify   *bool  `json:"verify"` // false: trust every certificate
}

// Auth is the credentials of a cloud.
type Auth struct {
	AuthURL           string `json:"auth_url"`
	UserID            string `json:"user_id"`
	Username          string `json:"username"`
	Password          string `json:"password"`
	Passcode          string `json:"passcode"`
	UserDomainID      string `json:"user_domain_id"`
	UserDomainName    string `json:"user_domain_name"`
	ProjectID         string `json:"project_id"`
	ProjectName       string `json:"project_name"`
	ProjectDomainID   string `json:"project_domain_id"`
	ProjectDomainName string `json:"project_domain_name"`
	DomainID          string `json:"domain_id"`
	DomainName        string `json:"domain_name"`
	DefaultDomain     string `json:"default_domain"` // id of the domain of users and projects that name none
	SystemScope       string `json:"system_scope"`   // "all" for a token that is for no project
	TrustID           string `json:"trust_id"`
	Token             string `json:"token"`
	CredentialID      string `json:"application_credential_id"`
	CredentialName    string `json:"application_credential_name"`
	CredentialSecret  string `json:"application_credential_secret"`
}

// FromEnv returns what the OS_* variables say; ok is false when they name no identity service.
func FromEnv(getenv func(string) string) (c Cloud, ok bool) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	c = Cloud{
		AuthType: getenv("OS_AUTH_TYPE"), CACert: getenv("OS_CACERT"), Cert: getenv("OS_CERT"), Key: getenv("OS_KEY"),
		Auth: Auth{
			AuthURL: getenv("OS_AUTH_URL"), UserID: first("OS_USER_ID", "OS_USERID"), Username: getenv("OS_USERNAME"),
			Password: getenv("OS_PASSWORD"), Passcode: getenv("OS_PASSCODE"),
			UserDomainID: getenv("OS_USER_DOMAIN_ID"), UserDomainName: getenv("OS_USER_DOMAIN_NAME"),
			ProjectID: first("OS_PROJECT_ID", "OS_TENANT_ID"), ProjectName: first("OS_PROJECT_NAME", "OS_TENANT_NAME"),
			ProjectDomainID: getenv("OS_PROJECT_DOMAIN_ID"), ProjectDomainName: getenv("OS_PROJECT_DOMAIN_NAME"),
			DomainID: getenv("OS_DOMAIN_ID"), DomainName: getenv("OS_DOMAIN_NAME"),
			DefaultDomain: first("OS_DEFAULT_DOMAIN", "OS_DEFAULT_DOMAIN_ID"), SystemScope: getenv("OS_SYSTEM_SCOPE"),
			TrustID: getenv("OS_TRUST_ID"), Token: first("OS_TOKEN", "OS_AUTH_TOKEN"),
			CredentialID: getenv("OS_APPLICATION_CREDENTIAL_ID"), CredentialName: getenv("OS_APPLICATION_CREDENTIAL_NAME"),
			CredentialSecret: getenv("OS_APPLICATION_CREDENTIAL_SECRET"),
		},
	}
	if v := strings.ToLower(getenv("OS_INSECURE")); v == "1" || v == "true" {
		c.Verify = new(bool)
	}
	return c, c.Auth.AuthURL != ""
}

// Load reads a cloud of clouds.yaml, with what secure.yaml beside it adds. The files are where OS_CLIENT_CONFIG_FILE says, or
// the first found of the current directory, the user's configuration (~/.config/openstack) and /etc/openstack. Errors: Invalid.
func Load(name string, getenv func(string) string) (Cloud, error) {
	for _, path := range locations(getenv) {
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return Cloud{}, fault.Wrap(err, fault.Invalid, "BAD_CLOUD", "%s cannot be read", path)
		}
		secret, err := os.ReadFile(filepath.Join(filepath.Dir(path), "secure.yaml"))
		if err != nil && !os.IsNotExist(err) {
			return Cloud{}, fault.Wrap(err, fault.Invalid, "BAD_CLOUD", "secure.yaml beside %s cannot be read", path)
		}
		return pick(name, path, data, secret)
	}
	return Cloud{}, fault.New(fault.Invalid, "BAD_CLOUD", "there is no clouds.yaml here, in ~/.config/openstack or in /etc/openstack")
}

func locations(getenv func(string) string) []string {
	if path := getenv("OS_CLIENT_CONFIG_FILE"); path != "" {
		return []string{path}
	}
	all := []string{"clouds.yaml"}
	if dir := cmp.Or(getenv("XDG_CONFIG_HOME"), filepath.Join(getenv("HOME"), ".config")); filepath.IsAbs(dir) {
		all = append(all, filepath.Join(dir, "openstack", "clouds.yaml"))
	}
	return append(all, "/etc/openstack/clouds.yaml")
}

// pick returns one cloud. Later files add to earlier ones: what they leave out stays.
func pick(name, path string, files ...[]byte) (c Cloud, err error) {
	known := false
	for _, data := range files {
		var all struct {
			Clouds map[string]any `json:"clouds"`
		}
		if err := yaml.Unmarshal(data, &all); err != nil {
			return Cloud{}, fault.Wrap(err, fault.Invalid, "BAD_CLOUD", "%s, or secure.yaml beside it, is not YAML", path)
		}
		one, ok := all.Clouds[name]
		if !ok {
			continue
		}
		known = true
		text, err := yaml.Marshal(one)
		if err == nil {
			err = yaml.Unmarshal(text, &c)
		}
		if err != nil {
			return Cloud{}, fault.Wrap(err, fault.Invalid, "BAD_CLOUD", "%s: cloud %q has a value of the wrong kind", path, name)
		}
	}
	if !known {
		return Cloud{}, fault.New(fault.Invalid, "BAD_CLOUD", "%s has no cloud %q", path, name)
	}
	return c, nil
}
