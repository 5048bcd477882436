package lab

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Hubs is a lab of several hubs on one etcd behind a load balancer, with agents whose stores are directories. What a Lab
// does through its client or as a user of the Image API goes through the balancer; the other methods of a Lab need Ceph.
type Hubs struct {
	*Lab
	hubs   []*Node
	shared string // directory that all hubs share; empty: none
	etcd   string
	frames string // the balancer before the ports for image data

	balancers []*balancer // between agents and hubs
}

// CutLinks resets all connections between agents and hubs.
func (h *Hubs) CutLinks() {
	for _, b := range h.balancers {
		b.cut()
	}
}

// Node is one of several hubs.
type Node struct {
	*Process
	Name                              string
	api, image, link, frames, metrics string
	lab                               *Hubs
}

// NewHubs starts etcd, count hubs and the three agents, and waits until all of them are connected. With shared the hubs have
// a common directory. Without ATOLL_TEST_BIN and an etcd program the test is skipped; with CI=true it fails.
func NewHubs(t *testing.T, count int, shared bool, flags ...string) *Hubs {
	t.Helper()
	program, err := exec.LookPath("etcd")
	bin := os.Getenv("ATOLL_TEST_BIN")
	if bin == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("ATOLL_TEST_BIN is not set or there is no etcd program")
		}
		t.Skip("needs the programs of Atoll in ATOLL_TEST_BIN and etcd: run make e2e")
	}
	h := &Hubs{Lab: &Lab{T: t, owner: t, Dir: t.TempDir(), Agents: map[string]*Process{}, bin: bin, flags: flags}}
	if shared {
		h.shared = filepath.Join(h.Dir, "shared")
	}
	client, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	h.etcd = client
	start(t, filepath.Join(h.Dir, "etcd.log"), program, "--data-dir", filepath.Join(h.Dir, "etcd"), "--log-level", "error",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	for i := range count {
		host := freeHost(t, i)
		h.hubs = append(h.hubs, &Node{
			Name: fmt.Sprintf("hub%d", i), lab: h,
			api: host + ":9393", image: host + ":9292", link: host + ":9394", frames: host + ":9395", metrics: host + ":9396",
		})
	}
	h.metrics = h.hubs[0].metrics
	h.balance()
	for _, n := range h.hubs {
		n.Start()
	}
	h.Leader()
	h.answers() // one that has just begun to lead may take a while
	for _, s := range Sites {
		h.configure(s)
		h.Join(s)
		h.StartAgent(s)
	}
	for _, s := range Sites {
		h.WaitSite(s, true)
	}
	return h
}

// freeHost returns a loopback address of which no port is used and that no lab of this process has got shortly before. A hub that
// is started again must find its ports free, which those of 127.0.0.1 need not be: any connection may have got them meanwhile.
func freeHost(t *testing.T, i int) string {
	t.Helper()
	for range 100 {
		n := given.Add(1)
		host := fmt.Sprintf("127.%d.%d.%d", 64+n>>8%64, n%256, i+1)
		if l, err := net.Listen("tcp", host+":9292"); err == nil {
			_ = l.Close()
			return host
		}
	}
	t.Fatal("no loopback address is free")
	return ""
}

// balance puts a balancer before each kind of port.
func (h *Hubs) balance() {
	h.T.Helper()
	all := func(f func(*Node) string) string {
		var addresses []string
		for _, n := range h.hubs {
			addresses = append(addresses, f(n))
		}
		b := balance(h.T, addresses)
		h.balancers = append(h.balancers, b)
		return b.address()
	}
	h.api = all(func(n *Node) string { return n.api })
	h.image = all(func(n *Node) string { return n.image })
	h.balancers = nil // of the ports that agents use
	h.link = all(func(n *Node) string { return n.link })
	h.frames = all(func(n *Node) string { return n.frames })
	var err error
	if h.Client, err = client.New(h.api, client.Options{}); err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { _ = h.Client.Close() })
}

// Start starts the hub, for the first time or again.
func (n *Node) Start() {
	n.lab.T.Helper()
	args := append([]string{
		"--data-dir", filepath.Join(n.lab.Dir, n.Name), "--etcd-endpoints", n.lab.etcd, "--grpc-addr", n.api, "--link-addr", n.link,
		"--frames-addr", n.frames, "--metrics-addr", n.metrics, "--image-addr", n.image,
	}, n.lab.flags...)
	if n.lab.shared != "" {
		args = append(args, "--shared-dir", n.lab.shared)
	} else {
		args = append(args, "--pki-dir", filepath.Join(n.lab.Dir, "pki"))
	}
	n.Process = start(n.lab.owner, filepath.Join(n.lab.Dir, n.Name+".log"), filepath.Join(n.lab.bin, "atoll-hub"), args...)
}

// Pause stops the hub where it is (SIGSTOP); Resume lets it go on.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP) }

// Resume lets a paused hub go on.
func (n *Node) Resume() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) {
	n.lab.T.Helper()
	if err := n.current().Process.Signal(s); err != nil {
		n.lab.T.Fatal(err)
	}
}

// Role returns what a hub says it is: leader or standby; empty when it does not answer.
func (n *Node) Role() string {
	ctx, cancel := context.WithTimeout(n.lab.T.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.metrics+"/healthz", http.NoBody)
	if err != nil {
		n.lab.T.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body) // cut: no role
	return strings.TrimSpace(string(b))
}

// Staged returns the contents that are in the staging areas of all hubs, by path.
func (h *Hubs) Staged() []string {
	h.T.Helper()
	var found []string
	err := filepath.WalkDir(h.Dir, func(path string, d fs.DirEntry, _ error) error { // files go while they are listed
		if d != nil && d.IsDir() && filepath.Base(filepath.Dir(path)) == "contents" {
			found = append(found, path)
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		h.T.Fatal(err)
	}
	return found
}

// Leader waits until one hub says that it leads and returns it and the others.
func (h *Hubs) Leader() (leader *Node, others []*Node) {
	h.T.Helper()
	Eventually(h.T, 2*time.Minute, "a hub leads", func() error {
		leader, others = nil, nil
		for _, n := range h.hubs {
			if n.Role() == "leader" {
				leader = n
			} else {
				others = append(others, n)
			}
		}
		if leader == nil || len(others) != len(h.hubs)-1 {
			return fmt.Errorf("leader %v, %d others", leader != nil, len(others))
		}
		return nil
	})
	return leader, others
}

// At returns a user of the Image API of one hub.
func (h *Hubs) At(n *Node) *Actor {
	a := h.Anyone()
	a.base = "http://" + n.image
	return a
}

// configure writes the configuration of a site's agent.
func (h *Hubs) configure(site string) {
	h.T.Helper()
	if err := os.MkdirAll(h.Store(site), 0o700); err != nil {
		h.T.Fatal(err)
	}
	link, frames := h.link, "https://"+h.frames
	if site == Sites[len(Sites)-1] { // this one knows the hubs by itself
		link, frames = "", ""
		for _, n := range h.hubs {
			link += n.link + ","
			frames += "https://" + n.frames + ","
		}
		link, frames = strings.TrimSuffix(link, ","), strings.TrimSuffix(frames, ",")
	}
	text := fmt.Sprintf("site: %s\nhub:\n  link: %q\n  frames: %q\nstate_dir: %q\nstores:\n  - id: %s\n    driver: file\n    path: %q\n",
		site, link, frames, h.State(site), site, h.Store(site))
	if err := os.WriteFile(h.config(site), []byte(text), 0o600); err != nil {
		h.T.Fatal(err)
	}
}

// Store returns the directory of a site's store.
func (h *Hubs) Store(site string) string { return filepath.Join(h.Dir, "store-"+site) }

// Status returns an image's status as the Image API says it, through the balancer; empty while nobody answers.
func (h *Hubs) Status(id string) hubv1.ImageStatus {
	ctx, cancel := context.WithTimeout(h.T.Context(), 5*time.Second)
	defer cancel()
	resp, err := h.Client.Images.GetImage(ctx, &hubv1.GetImageRequest{Id: id})
	if err != nil {
		return hubv1.ImageStatus_IMAGE_STATUS_UNSPECIFIED
	}
	return resp.Image.Status
}

// URL returns the URL of a path of the Image API that the user asks.
func (a *Actor) URL(path string) string { return a.base + path }
