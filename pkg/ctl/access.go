package ctl

import (
	"crypto/tls"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/client"
	"github.com/atoll-dcn/atoll/pkg/client/keystone"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/rpc"
)

// access is the flags that say who calls, and how to reach a hub on another machine.
type access struct {
	token  string
	cloud  string
	caFile string
	tls    bool
}

func (c *cli) accessFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.access.token, "token", "", "token that says who you are; better in the environment, ATOLL_TOKEN")
	f.StringVar(&c.access.cloud, "os-cloud", "", "cloud of clouds.yaml whose Keystone says who you are (environment OS_CLOUD, or OS_AUTH_URL and the like)")
	f.BoolVar(&c.access.tls, "tls", false, "reach the hub over TLS")
	f.StringVar(&c.access.caFile, "ca-file", "", "PEM file with the certificates to trust, implies --tls (environment ATOLL_CA_FILE)")
	for _, name := range []string{"token", "os-cloud", "tls"} {
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
}

// encryption returns how to reach the hub; nil means plaintext.
func (c *cli) encryption() (*tls.Config, error) {
	ca := c.access.caFile
	if ca == "" {
		ca = c.env.Getenv("ATOLL_CA_FILE")
	}
	if ca == "" && !c.access.tls {
		return nil, nil //nolint:nilnil // plaintext is not a mistake
	}
	return rpc.ClientTLS(ca)
}

// tokens returns who calls; nil when nothing says so. What is on the command line goes before what is in the environment, and
// a token before Keystone.
func (c *cli) tokens() (client.Tokens, error) {
	if c.access.token != "" && c.access.cloud != "" {
		return nil, fault.BadField("--token", "cannot be used together with --os-cloud")
	}
	env := c.env.Getenv
	switch {
	case c.access.token != "":
		return client.StaticToken(c.access.token), nil
	case c.access.cloud != "":
		return c.keystone(c.access.cloud)
	case env("ATOLL_TOKEN") != "":
		return client.StaticToken(env("ATOLL_TOKEN")), nil
	case env("OS_CLOUD") != "":
		return c.keystone(env("OS_CLOUD"))
	}
	cloud, ok := keystone.FromEnv(env)
	if !ok {
		return nil, nil //nolint:nilnil // a hub without authentication asks for none
	}
	return c.source(cloud)
}

func (c *cli) keystone(name string) (client.Tokens, error) {
	cloud, err := keystone.Load(name, c.env.Getenv)
	if err != nil {
		return nil, err
	}
	return c.source(cloud)
}

func (c *cli) source(cloud keystone.Cloud) (client.Tokens, error) {
	return keystone.New(cloud, c.userAgent(), c.env.Now)
}

func (c *cli) userAgent() string { return "atollctl/" + buildInfo(c.env.Version).Version }

// dial makes the client of the hub; it does not connect yet.
func (c *cli) dial() error {
	conf, err := c.encryption()
	if err != nil {
		return err
	}
	tokens, err := c.tokens()
	if err != nil {
		return err
	}
	c.anonymous = tokens == nil
	c.hub, err = client.New(c.target, client.Options{UserAgent: c.userAgent(), TLS: conf, Tokens: tokens})
	return err
}

// hintFlags returns the flags of access as they were typed, without secrets.
func (c *cli) hintFlags() string {
	s := ""
	if c.access.tls {
		s += "--tls "
	}
	if c.access.caFile != "" {
		s += "--ca-file " + c.access.caFile + " "
	}
	if c.access.cloud != "" {
		s += "--os-cloud " + c.access.cloud + " "
	}
	return s
}
