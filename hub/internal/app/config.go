package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
	"github.com/atoll-dcn/atoll/hub/internal/glance"
	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/pkg/auth/keystone"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/telemetry"
)

// Config is everything an operator can choose.
type Config struct {
	Version        string // of this software
	DataDir        string
	EtcdEndpoints  []string
	GRPCAddr       string
	LinkAddr       string
	FramesAddr     string
	MetricsAddr    string
	CentralStore   string
	StagingLimit   string
	CompactLimit   string
	Retention      time.Duration
	StagingWait    time.Duration // how long data of an import waits for space in the staging area while none becomes free
	TokenLife      time.Duration
	CertificateTTL time.Duration
	Heartbeat      time.Duration
	Settings       reconcile.Settings
	Image          ImageConfig
	Access         AccessConfig
	Hubs           HubsConfig
	Conversion     ConversionConfig
	Import         outside.Options
	Inject         InjectConfig
	Imports        ImportConfig
	FormatMatch    string // strict or warn
	Formats        FormatConfig
	Signature      SignatureConfig
	Bandwidth      BandwidthConfig
	Scrub          ScrubConfig
	Limits         catalog.Limits
	Sizes          sizes
	Log            telemetry.LogOptions
}

// ImageConfig is about the Image API.
type ImageConfig struct {
	Addr           string
	PublicEndpoint string
	Settings       glance.Settings
}

// AccessConfig is about who may do what with the user-facing APIs.
type AccessConfig struct {
	Auth             string // none, tokens or keystone
	TokensFile       string
	Keystone         keystone.Options
	PasswordFile     string
	PolicyFile       string
	PolicyDir        string
	ProtectionFile   string
	ProtectionFormat string
	Rate             float64 // requests per second of one user; 0: no limit
	Burst            int
	TLSCert, TLSKey  string
}

// sizes are limits as users write them, with units.
type sizes struct {
	Image, Project, Staged string
}

// Main runs the hub with the command line's flags until it fails or is told to stop, and returns the exit code: 0 done, 1
// failed, 2 bad usage. version is the linker's.
func Main(ctx context.Context, version string) int {
	if code, mine := sandbox.Main(); mine { // the hub has started itself to become qemu-img
		return code
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(telemetry.Version(version)).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "atoll-hub:", text(err))
		if fault.Is(err, fault.Invalid) || errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	return 0
}

// text is what an operator at the command line should read.
func text(err error) string {
	if e, ok := fault.As(err); ok && e.Class != fault.Internal {
		return err.Error() + " [" + e.Reason + "]"
	}
	return err.Error()
}

var errUsage = errors.New("see atoll-hub --help")

// What happens to data that is of another format than its image is said to have.
const (
	formatStrict = "strict" // it is refused
	formatWarn   = "warn"   // it is logged
)

// check returns the first thing that is wrong.
func (c *Config) check() (central image.StoreID, limit int64, err error) {
	if c.DataDir == "" {
		return "", 0, fault.BadField("data-dir", "is required, for example --data-dir /var/lib/atoll-hub")
	}
	if err := c.checkHubs(); err != nil {
		return "", 0, err
	}
	if central, err = image.ParseStoreID("central-store", c.CentralStore); err != nil {
		return "", 0, err
	}
	if _, err := c.compactLimit(); err != nil {
		return "", 0, err
	}
	if limit, err = parseSize("staging-limit", c.StagingLimit); err != nil {
		return "", 0, err
	}
	if c.FormatMatch != formatStrict && c.FormatMatch != formatWarn {
		return "", 0, fault.BadField("format-match", "must be %s or %s", formatStrict, formatWarn)
	}
	if c.Limits.Formats, err = c.parseFormats(); err != nil {
		return "", 0, err
	}
	if err := c.Bandwidth.check(); err != nil {
		return "", 0, err
	}
	if err := c.Scrub.check(&c.Settings); err != nil {
		return "", 0, err
	}
	if err := c.Imports.check(); err != nil {
		return "", 0, err
	}
	if c.Access.Auth != authNone { // one project must not be able to stop the imports of all
		c.Limits.StagedBytes = limit / 2
	}
	for _, l := range []struct {
		name, text string
		into       *int64
	}{
		{"image-size-limit", c.Sizes.Image, &c.Limits.ImageSize},
		{"project-storage-limit", c.Sizes.Project, &c.Limits.ProjectBytes},
		{"project-staging-limit", c.Sizes.Staged, &c.Limits.StagedBytes},
	} {
		if l.text == "" {
			continue
		}
		if *l.into, err = parseSize(l.name, l.text); err != nil {
			return "", 0, err
		}
	}
	if err := c.checkAccess(); err != nil {
		return "", 0, err
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"offline-timeout", c.Settings.OfflineTimeout},
		{"delete-check-timeout", c.Settings.CheckTimeout},
		{"retry-initial", c.Settings.RetryInitial},
		{"retry-max", c.Settings.RetryMax},
		{"heartbeat", c.Heartbeat},
		{"join-token-life", c.TokenLife},
		{"agent-cert-life", c.CertificateTTL},
		{"staged-timeout", c.Settings.StagedTimeout},
		{"delete-wait", c.Image.Settings.DeleteWait},
		{"upload-wait", c.Image.Settings.UploadWait},
	} {
		if d.v <= 0 {
			return "", 0, fault.BadField(d.name, "must be longer than 0, such as 5s or 24h")
		}
	}
	return central, limit, nil
}

// parseSize reads a number of bytes with an optional unit KiB, MiB, GiB or TiB.
func parseSize(field, s string) (int64, error) {
	shift := 0
	number := s
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number, shift = n, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fault.BadField(field, "%q is not a size such as 50GiB", s)
	}
	return n << shift, nil
}
