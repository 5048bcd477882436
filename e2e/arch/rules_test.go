package arch_test

// module is the path of this module.
const module = "github.com/atoll-dcn/atoll"

// edgeRule says which packages may import a package directly. Patterns end in /... to mean a package and all below it.
type edgeRule struct {
	id      string
	target  string   // what is imported; module-relative where it is ours
	allowed []string // who may
	reason  string
}

var edgeRules = []edgeRule{
	{
		id: "cgo-once", target: "github.com/ceph/go-ceph/...", allowed: []string{"agent/internal/rbd/cephrbd"},
		reason: "librbd calls block and cannot be cancelled; one package bounds them",
	},
	{
		id: "etcd-client", target: "go.etcd.io/etcd/client/...", allowed: []string{"hub/internal/catalog/etcdstore/..."},
		reason: "writes are fenced and guarded in one place",
	},
	{
		id: "etcd-api", target: "go.etcd.io/etcd/api/...", allowed: []string{"hub/internal/catalog/etcdstore/..."},
		reason: "etcd's errors and messages end at the store of records",
	},
	{
		id: "etcd-server", target: "go.etcd.io/etcd/server/...", allowed: []string{"hub/internal/catalog/etcdstore/embedded"},
		reason: "the embedded server is started and stopped in one place",
	},
	{
		id: "embedded", target: "hub/internal/catalog/etcdstore/embedded", allowed: []string{"hub/internal/app"},
		reason: "only the assembly decides whether etcd is embedded",
	},
	{
		id: "backoff", target: "github.com/cenkalti/backoff/...", allowed: []string{"pkg/retry"},
		reason: "one policy of waiting; the library's default gives up after 15 minutes",
	},
	{
		id: "grpc-status", target: "google.golang.org/grpc/status", allowed: []string{"pkg/rpc", generated},
		reason: "error classes become wire statuses in one place",
	},
	{
		id: "grpc-codes", target: "google.golang.org/grpc/codes", allowed: []string{"pkg/rpc", generated},
		reason: "error classes become wire statuses in one place",
	},
	{
		id: "keystone", target: "github.com/gophercloud/gophercloud/...", allowed: []string{"pkg/auth/keystone", "pkg/client/keystone", "e2e/..."},
		reason: "only the verifier and the clients' login talk to Keystone",
	},
	{
		id: "policy-rules", target: "github.com/databus23/goslo.policy", allowed: []string{"pkg/policy"},
		reason: "its gaps are closed in one place",
	},
	{
		id: "image-api", target: "hub/internal/glance", allowed: []string{"hub/internal/app"},
		reason: "the domain does not know HTTP; the two APIs do not know each other",
	},
	{
		id: "stored-records", target: "proto/gen/go/atoll/store/...", allowed: []string{"hub/internal/..."},
		reason: "stored records are the hub's own; nothing else may depend on their shape",
	},
	{
		id: "hub-assembly", target: "hub/internal/app", allowed: []string{"hub/cmd/atoll-hub"},
		reason: "assemblies are imported by mains only",
	},
	{
		id: "agent-assembly", target: "agent/internal/app", allowed: []string{"agent/cmd/atoll-agent"},
		reason: "assemblies are imported by mains only",
	},
	{
		id: "fake-drivers", target: "agent/internal/rbd/rbdtest", allowed: nil,
		reason: "the conformance suite is for tests only",
	},
}

// treeRule says which trees must not import which.
type treeRule struct {
	id, from, to, reason string
}

var treeRules = []treeRule{
	{"pkg-below", "pkg/...", "hub/...", "packages in pkg know no process"},
	{"pkg-below", "pkg/...", "agent/...", "packages in pkg know no process"},
	{"hub-agent", "hub/...", "agent/...", "they meet on the wire only"},
	{"agent-hub", "agent/...", "hub/...", "they meet on the wire only"},
	{"agent-api", "agent/...", "proto/gen/go/atoll/hub/...", "agents speak the link only"},
	{"cli-link", "pkg/ctl/...", "proto/gen/go/atoll/agent/...", "the CLI is a pure client of the public API"},
}

// purePackages import the standard library and each other only.
var purePackages = []string{"pkg/image", "pkg/manifest", "pkg/fault"}

// closureRule says what a program must not contain, however indirectly.
type closureRule struct {
	id, program string
	cgo         bool     // look at the program as it is built with cgo
	forbidden   []string // import paths
	reason      string
}

var closureRules = []closureRule{
	{"cli-closure", "hub/cmd/atollctl", false, []string{"go.etcd.io/...", "github.com/ceph/..."}, "the CLI is a pure client"},
	{"cli-closure", "hub/cmd/atollctl", true, []string{"go.etcd.io/...", "github.com/ceph/..."}, "the CLI is a pure client"},
	{"hub-closure", "hub/cmd/atoll-hub", true, []string{"github.com/ceph/..."}, "the hub needs no Ceph library"},
	{"agent-closure", "agent/cmd/atoll-agent", true, []string{"go.etcd.io/..."}, "agents never see the catalog"},
	{"agent-without-cgo", "agent/cmd/atoll-agent", false, []string{"github.com/ceph/..."}, "without cgo the agent has no Ceph driver"},
}

// forbiddenNames are package names that say nothing.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "types", "errors", "base", "shared"}

const (
	maxLines    = 800  // of one file
	medianBytes = 4096 // of all files
	cgoPackage  = "agent/internal/rbd/cephrbd"
	generated   = "proto/gen/..."
)
