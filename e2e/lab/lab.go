// Package lab runs Atoll as its users do: a hub, an agent at each of three sites and atollctl as processes, on real Ceph
// clusters that e2e/lab/ceph.sh has started.
package lab

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Sites are the sites of every lab; each has one store of the same name. The first is central.
var Sites = []string{"central", "dcn0", "dcn1"}

// Lab is one hub with its sites. It belongs to one test.
type Lab struct {
	T      *testing.T
	Dir    string
	Hub    *Process
	Agents map[string]*Process
	Client *client.Client

	owner   *testing.T // whose end stops the processes
	ceph    string     // directory of the clusters
	bin     string     // directory of the programs
	api     string
	link    string
	metrics string
	image   string // address of the Image API
	flags   []string
	extra   map[string]string // by site: what its agent's configuration has besides
}

// New starts a lab. Without ATOLL_TEST_CEPH_DIR and ATOLL_TEST_BIN, which e2e/ci/test.sh sets, the test is skipped; with
// CI=true it fails. hubFlags are added to those of the hub. Everything is stopped when the test ends, and what it left in
// the pools is removed.
func New(t *testing.T, hubFlags ...string) *Lab {
	t.Helper()
	return newLab(t, setup{image: freeAddress(t), flags: hubFlags})
}

// setup is what labs differ in.
type setup struct {
	image string            // address of the Image API
	flags []string          // of the hub, besides
	token func() string     // vouches for the lab's own requests; nil: nobody needs to
	extra map[string]string // by site: what its agent's configuration has besides
	// options are those of the agents, by site.
	options map[string]Options
}

func newLab(t *testing.T, s setup) *Lab {
	t.Helper()
	l := &Lab{
		T: t, owner: t, Dir: t.TempDir(), Agents: map[string]*Process{}, flags: s.flags, image: s.image, extra: s.extra,
		ceph: os.Getenv("ATOLL_TEST_CEPH_DIR"), bin: os.Getenv("ATOLL_TEST_BIN"),
	}
	if l.ceph == "" || l.bin == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("ATOLL_TEST_CEPH_DIR and ATOLL_TEST_BIN are not set")
		}
		t.Skip("needs a Ceph lab: run make e2e")
	}
	for _, s := range Sites {
		l.empty(s)
		t.Cleanup(func() { l.empty(s) })
	}
	l.api, l.link, l.metrics = freeAddress(t), freeAddress(t), freeAddress(t)
	var err error
	options := client.Options{}
	if s.token != nil {
		options.Tokens = source(s.token)
	}
	if l.Client, err = client.New(l.api, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Client.Close() })
	l.StartHub()
	for _, site := range Sites {
		l.Configure(site, s.options[site])
		l.Join(site)
		l.StartAgent(site)
	}
	for _, s := range Sites {
		l.WaitSite(s, true)
	}
	return l
}

// source is a source of tokens for the client.
type source func() string

// Token returns a token.
func (s source) Token(context.Context, string) (string, error) { return s(), nil }

// The ports of labs: below those that the system gives to outgoing connections, which are made all the time and could take
// one before its server does.
const firstPort, ports = 12_000, 18_000

// given counts the addresses that labs of this process have got, from a random beginning: labs of other processes have theirs
// elsewhere.
var given = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(1 << 24)) //nolint:gosec // not a secret
	return &n
}()

// freeAddress returns a loopback address that nobody listens on now, and that no lab of this process has got: its server may not
// listen yet, or be about to start again.
func freeAddress(t *testing.T) string {
	t.Helper()
	var err error
	for range 1000 {
		var l net.Listener
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+given.Add(1)%ports)
		if l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatalf("no port is free: %v", err)
	return ""
}

// StartHub starts the hub and waits until it answers.
func (l *Lab) StartHub() {
	l.T.Helper()
	args := append([]string{
		"--data-dir", filepath.Join(l.Dir, "hub"), "--grpc-addr", l.api, "--link-addr", l.link,
		"--frames-addr", "127.0.0.1:0", "--metrics-addr", l.metrics, "--image-addr", l.image,
	}, l.flags...)
	if err := os.MkdirAll(l.Scratch(), 0o700); err != nil {
		l.T.Fatal(err)
	}
	l.Hub = startWith(l.owner, []string{"TMPDIR=" + l.Scratch()}, filepath.Join(l.Dir, "hub.log"), filepath.Join(l.bin, "atoll-hub"), args...)
	l.answers()
}

// answers waits until the hub answers.
func (l *Lab) answers() {
	l.T.Helper()
	Eventually(l.T, 2*time.Minute, "the hub answers", func() error {
		_, err := l.Client.Stores.ListStores(l.T.Context(), &hubv1.ListStoresRequest{})
		return err
	})
}

// Scratch returns the directory in which the hub may make temporary files.
func (l *Lab) Scratch() string { return filepath.Join(l.Dir, "tmp") }

// Options change the configuration of an agent.
type Options map[string]string

// Configure writes the configuration of a site's agent. Keys of o: user, pool, ceph_conf, frames, compact.
func (l *Lab) Configure(site string, o Options) {
	l.T.Helper()
	get := func(key, def string) string {
		if v, ok := o[key]; ok {
			return v
		}
		return def
	}
	text := fmt.Sprintf(`site: %s
hub:
  link: %q
  frames: %q
state_dir: %q
stores:
  - id: %s
    driver: ceph
    ceph_conf: %q
    user: %s
    pool: %s
compact: %s
`, site, l.link, get("frames", "unix:"+filepath.Join(l.Dir, "hub", "frames.sock")), l.State(site), site,
		get("ceph_conf", l.Conf(site)), get("user", "atoll"), get("pool", "images"), get("compact", "auto"))
	if err := os.WriteFile(l.config(site), []byte(text+l.extra[site]), 0o600); err != nil {
		l.T.Fatal(err)
	}
}

func (l *Lab) config(site string) string { return filepath.Join(l.Dir, site+".yaml") }

// State returns the state directory of a site's agent.
func (l *Lab) State(site string) string { return filepath.Join(l.Dir, site) }

// Conf returns the ceph.conf of a site's cluster.
func (l *Lab) Conf(site string) string { return filepath.Join(l.ceph, site, "ceph.conf") }

// Join registers a site with the hub and gives its agent a certificate.
func (l *Lab) Join(site string) {
	l.T.Helper()
	resp, err := l.Client.Sites.CreateSite(l.T.Context(), &hubv1.CreateSiteRequest{Site: &hubv1.Site{Id: site}})
	if err != nil {
		l.T.Fatal(err)
	}
	if out, err := l.AgentJoin(site, resp.JoinToken); err != nil {
		l.T.Fatalf("join: %v\n%s", err, out)
	}
}

// AgentJoin runs atoll-agent join for a site.
func (l *Lab) AgentJoin(site, token string) (string, error) {
	cmd := exec.CommandContext(l.T.Context(), filepath.Join(l.bin, "atoll-agent"), "join", "--config", l.config(site), "--token", token)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// StartAgent starts the agent of a site. As under a service manager it is started again when it crashes.
func (l *Lab) StartAgent(site string) {
	l.T.Helper()
	l.Agents[site] = startKept(l.owner, filepath.Join(l.Dir, site+".log"), filepath.Join(l.bin, "atoll-agent"), "run", "--config", l.config(site))
}

// WaitSite waits until a site is connected, with its store healthy, or is not.
func (l *Lab) WaitSite(site string, connected bool) {
	l.T.Helper()
	Eventually(l.T, 2*time.Minute, "site "+site, func() error {
		resp, err := l.Client.Sites.GetSite(l.T.Context(), &hubv1.GetSiteRequest{Id: site})
		if err != nil {
			return err
		}
		if resp.Site.Connected != connected {
			return fmt.Errorf("connected: %t", resp.Site.Connected)
		}
		if !connected {
			return nil
		}
		st, err := l.Client.Stores.GetStore(l.T.Context(), &hubv1.GetStoreRequest{Id: site})
		if err == nil && !st.Store.Healthy {
			err = fmt.Errorf("unhealthy: %s", st.Store.Message)
		}
		return err
	})
}

// Ctl runs atollctl and returns what it prints to its output and its errors, and its exit code.
func (l *Lab) Ctl(args ...string) (out, errs string, code int) {
	l.T.Helper()
	cmd := exec.CommandContext(l.T.Context(), filepath.Join(l.bin, "atollctl"), args...)
	cmd.Env = append(os.Environ(), "ATOLL_HUB="+l.api)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // the exit code tells
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// Metric returns the sum of all series of one of the hub's metrics.
func (l *Lab) Metric(name string) float64 {
	l.T.Helper()
	req, err := http.NewRequestWithContext(l.T.Context(), http.MethodGet, "http://"+l.metrics+"/metrics", http.NoBody)
	if err != nil {
		l.T.Fatal(err)
	}
	resp, err := plain.Do(req)
	if err != nil {
		l.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var sum float64
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		series, value, _ := strings.Cut(s.Text(), " ")
		if base, _, _ := strings.Cut(series, "{"); base == name {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				l.T.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// Log returns what a process has logged: "hub" or a site.
func (l *Lab) Log(name string) string {
	b, _ := os.ReadFile(filepath.Join(l.Dir, name+".log")) // missing: nothing logged
	return string(b)
}
