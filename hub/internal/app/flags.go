package app

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
)

func command(version string) *cobra.Command {
	c := Config{Version: version, Settings: reconcile.DefaultSettings(), Limits: catalog.DefaultLimits()}
	cmd := &cobra.Command{
		Use:   "atoll-hub",
		Short: "Keep the catalog of images and feed the sites",
		Long: `atoll-hub keeps the catalog of images and their copies, takes image data in and serves it to the agents of the sites.
Users reach it through the Image API v2 (--image-addr) and through gRPC (--grpc-addr).

Without --etcd-endpoints it keeps its records in an embedded etcd below --data-dir. Without --auth everybody who can
connect is an administrator, so both user-facing addresses must then be loopback addresses.`,
		Example: `  atoll-hub --data-dir /var/lib/atoll-hub
  atoll-hub --data-dir /var/lib/atoll-hub --etcd-endpoints http://10.0.0.1:2379,http://10.0.0.2:2379
  atoll-hub --data-dir /var/lib/atoll-hub --image-addr :9292 --auth keystone \
      --keystone-url https://keystone.example.org:5000/v3 --keystone-user atoll --keystone-password-file /etc/atoll/password`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return Run(cmd.Context(), c, os.Stderr) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	f := cmd.Flags()
	c.addresses(f)
	c.hubs(f)
	c.timing(f)
	c.access(f)
	c.limits(f)
	c.bandwidth(f)
	c.scrubbing(f)
	c.imports(f)
	c.compacting(f)
	c.formats(f)
	c.signatures(f)
	c.inject(f)
	c.treatment(f)
	c.conversion(f)
	f.StringVar(&c.Log.Level, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&c.Log.JSON, "log-json", false, "log one JSON object a line")
	return cmd
}

func (c *Config) addresses(f *pflag.FlagSet) {
	f.StringVar(&c.DataDir, "data-dir", "", "directory for records, staging area and CA (required)")
	f.StringSliceVar(&c.EtcdEndpoints, "etcd-endpoints", nil, "external etcd cluster instead of the embedded one")
	f.StringVar(&c.Image.Addr, "image-addr", "127.0.0.1:9292", "address of the Image API; empty for none")
	f.StringVar(&c.Image.PublicEndpoint, "public-endpoint", "", "URL under which clients reach the Image API, if not the one they ask")
	f.StringVar(&c.GRPCAddr, "grpc-addr", "127.0.0.1:9393", "address of the user-facing gRPC API; others than loopback need --auth and --tls-cert")
	f.StringVar(&c.LinkAddr, "link-addr", ":9394", "address agents connect to")
	f.StringVar(&c.FramesAddr, "frames-addr", ":9395", "address agents move image data through")
	f.StringVar(&c.MetricsAddr, "metrics-addr", "127.0.0.1:9396", "address of /metrics and /healthz; empty for none")
	f.StringVar(&c.CentralStore, "central-store", "central", "id of the central store")
}

func (c *Config) timing(f *pflag.FlagSet) {
	s := &c.Settings
	f.DurationVar(&c.Retention, "staging-retention", 10*time.Minute, "how long staged data stays that nobody needs")
	f.DurationVar(&c.StagingWait, "staging-wait", 5*time.Minute, "how long an import waits for space in the staging area while none becomes free")
	f.DurationVar(&s.StagedTimeout, "staged-timeout", s.StagedTimeout, "how long data that was staged waits for its import")
	f.DurationVar(&c.TokenLife, "join-token-life", 24*time.Hour, "how long a join token works")
	f.DurationVar(&c.CertificateTTL, "agent-cert-life", 30*24*time.Hour, "how long an agent's certificate works")
	f.DurationVar(&c.Heartbeat, "heartbeat", 5*time.Second, "longest silence on the link to an agent")
	f.DurationVar(&s.OfflineTimeout, "offline-timeout", s.OfflineTimeout, "a copy has failed after waiting so long for its site")
	f.DurationVar(&s.CheckTimeout, "delete-check-timeout", s.CheckTimeout, "how long a delete waits for a connected site before it leaves a tombstone")
	f.DurationVar(&s.RetryInitial, "retry-initial", s.RetryInitial, "wait before a failed copy is tried again, doubling each time")
	f.DurationVar(&s.RetryMax, "retry-max", s.RetryMax, "longest wait before a failed copy is tried again")
	f.DurationVar(&c.Image.Settings.DeleteWait, "delete-wait", 5*time.Second, "how long the Image API lets a client wait for the outcome of a delete")
	f.DurationVar(&c.Image.Settings.UploadWait, "upload-wait", 10*time.Minute, "how long the Image API lets a client wait for its uploaded data to be stored")
}

func (c *Config) access(f *pflag.FlagSet) {
	a := &c.Access
	f.StringVar(&a.Auth, "auth", "none", "who users are: none, tokens (a file) or keystone")
	f.StringVar(&a.TokensFile, "tokens-file", "", "file of static tokens for --auth tokens")
	f.StringVar(&a.Keystone.AuthURL, "keystone-url", "", "URL of Keystone, such as https://keystone.example.org:5000/v3")
	f.StringVar(&a.Keystone.Username, "keystone-user", "atoll", "user with which tokens are checked")
	f.StringVar(&a.PasswordFile, "keystone-password-file", "", "file that holds that user's password")
	f.StringVar(&a.Keystone.UserDomain, "keystone-user-domain", "Default", "domain of that user")
	f.StringVar(&a.Keystone.Project, "keystone-project", "service", "project of that user")
	f.StringVar(&a.Keystone.ProjectDomain, "keystone-project-domain", "Default", "domain of that project")
	f.StringVar(&a.Keystone.Region, "keystone-region", "", "region whose endpoints are used")
	f.StringVar(&a.Keystone.CAFile, "keystone-ca-file", "", "certificates that Keystone's is checked with; empty: the system's")
	f.StringVar(&a.PolicyFile, "policy-file", "", "rules that replace the default ones, in oslo.policy's syntax")
	f.StringVar(&a.PolicyDir, "policy-dir", "", "directory of more such files, merged in the order of their names")
	f.StringVar(&a.ProtectionFile, "property-protection-file", "", "who may read and change which properties")
	f.StringVar(&a.ProtectionFormat, "property-protection-format", "roles", "what that file names: roles or policies")
	f.Float64Var(&a.Rate, "rate-limit", 0, "requests per second of one user to the Image API; 0 for no limit")
	f.IntVar(&a.Burst, "rate-burst", 100, "requests that one user may make at once above --rate-limit")
	f.StringVar(&a.TLSCert, "tls-cert", "", "certificate for the user-facing APIs; empty: no TLS")
	f.StringVar(&a.TLSKey, "tls-key", "", "key of that certificate")
}

func (c *Config) limits(f *pflag.FlagSet) {
	l := &c.Limits
	f.StringVar(&c.StagingLimit, "staging-limit", "50GiB", "most space the staging area takes")
	f.StringVar(&c.Sizes.Image, "image-size-limit", "1TiB", "largest image")
	f.StringVar(&c.Sizes.Project, "project-storage-limit", "", "most bytes of all copies of a project's images; empty for no limit")
	f.StringVar(&c.Sizes.Staged, "project-staging-limit", "",
		"most bytes that a project stages before importing them; empty: half of --staging-limit, none with --auth none")
	f.IntVar(&l.ProjectImages, "project-image-limit", l.ProjectImages, "most images of a project; 0 for no limit")
	f.IntVar(&l.Properties, "property-limit", l.Properties, "most properties of an image; 0 for no limit")
	f.IntVar(&l.Tags, "tag-limit", l.Tags, "most tags of an image; 0 for no limit")
	f.IntVar(&l.Members, "member-limit", l.Members, "most members of an image; 0 for no limit")
}

func (c *Config) imports(f *pflag.FlagSet) {
	o := &c.Import
	f.StringSliceVar(&c.Image.Settings.ImportMethods, "import-methods", []string{"glance-direct", "web-download", "copy-image"},
		"ways to import that the Image API offers; glance-download is another")
	f.StringVar(&c.FormatMatch, "format-match", formatStrict,
		"what to do with data of another format than disk_format: strict refuses it, warn logs it; unsafe data is always refused")
	f.StringSliceVar(&o.AllowSchemes, "import-allow-schemes", nil, "schemes of URLs that may be imported; default http and https")
	f.StringSliceVar(&o.DenySchemes, "import-deny-schemes", nil, "schemes that may not")
	f.StringSliceVar(&o.AllowHosts, "import-allow-hosts", nil, "hosts that may be imported from, such as *.example.org; default all")
	f.StringSliceVar(&o.DenyHosts, "import-deny-hosts", nil, "hosts that may not")
	f.StringSliceVar(&o.AllowPorts, "import-allow-ports", nil,
		"ports and ranges that may be imported from; default 80 and 443, with --auth none all")
	f.StringSliceVar(&o.DenyPorts, "import-deny-ports", nil, "ports that may not")
	f.StringSliceVar(&o.AllowNetworks, "import-allow-networks", nil,
		"networks that may be connected to although they are private or special; default none, with --auth none private ones and loopback")
	f.StringSliceVar(&o.DenyNetworks, "import-deny-networks", nil, "networks that may not although they are public; the longest match decides")
	f.IntVar(&o.Connections, "import-connections", 4, "connections that the data of one URL comes over, where its server sends parts; 1 to 16")
	f.StringVar(&o.CAFile, "import-ca-file", "", "certificates that those of sources are checked with; empty: the system's")
}
