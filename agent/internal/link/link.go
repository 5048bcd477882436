// Package link keeps the control session with the hub: what the site should hold comes down, what it sees goes up.
//
// Both directions carry state, never steps, so a session may end at any moment: the next one starts with snapshots.
package link

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// Protocol is the version of the link protocol this agent speaks.
const Protocol = 1

// Replicas is what the session is about. Package replica implements it.
type Replicas interface {
	// Apply takes over a message of desired state. It never blocks.
	Apply(*agentv1.Desired)
	// Changed receives a value when Take has something to return.
	Changed() <-chan struct{}
	// Take returns what has changed since the last Take or Snapshot; nil if nothing has.
	Take() *agentv1.Observed
	// Snapshot returns everything.
	Snapshot() *agentv1.Observed
	// Stores returns the state of every store.
	Stores() []*agentv1.StoreStatus
	// Offline tells that the session has ended.
	Offline()
}

// Awaited is which copies somebody at the site waits for. What edge.Awaited collects is one.
type Awaited interface {
	// Changed receives a value when Take has something to return.
	Changed() <-chan struct{}
	// Take returns what the hub has not been told yet; nil if there is nothing.
	Take() *agentv1.Awaited
}

// Conn is a connection to the hub.
type Conn interface {
	grpc.ClientConnInterface
	Close() error
}

// Config is what a Link needs.
type Config struct {
	// Dial makes a connection without waiting for it. Each session has its own, so that it shows the certificate that is
	// current when it begins.
	Dial     func() (Conn, error)
	Replicas Replicas
	Awaited  Awaited // nil: nobody at the site can say that they wait
	Version  string  // of this software
	Instance string  // random, new for each process
	Log      hclog.Logger
}

// Link is the agent's end of the session. Run it once.
type Link struct {
	Config
	policy retry.Policy
	hello  time.Duration // longest wait for Welcome

	mu  sync.Mutex
	bad error // why there is no session now; nil while there is one
}

// errStarting is the state before the first session.
var errStarting = fault.New(fault.Unavailable, "NOT_CONNECTED", "not connected to the hub yet")

// New returns a link that does nothing until Run is called.
func New(c Config) *Link {
	return &Link{
		Config: c, policy: retry.Policy{Initial: 250 * time.Millisecond, Max: 15 * time.Second},
		hello: 15 * time.Second, bad: errStarting,
	}
}

// Healthy returns nil while there is a session, else why there is none.
func (l *Link) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

func (l *Link) setState(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = err
}

// quiet is the shortest time between two log lines about the same trouble.
const quiet = time.Minute

// Run keeps a session with the hub until ctx ends, then returns nil. It never gives up: a hub that refuses this agent may
// accept it later.
func (l *Link) Run(ctx context.Context) error {
	backoff := l.policy.Backoff()
	var said string
	var saidAt time.Time
	for {
		welcomed, err := l.session(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop
		}
		l.setState(err)
		l.Replicas.Offline()
		if welcomed {
			backoff.Reset()
			said = ""
		}
		if reason := fault.ReasonOf(err); reason != said || time.Since(saidAt) >= quiet {
			said, saidAt = reason, time.Now()
			l.say(err)
		}
		wait := backoff.Next()
		var bye *goodbyeError
		if errors.As(err, &bye) && bye.after > wait {
			wait = bye.after
		}
		if retry.Sleep(ctx, wait) != nil {
			return nil //nolint:nilerr // it was told to stop
		}
	}
}

// say logs why there is no session: loudly when somebody has to do something about it.
func (l *Link) say(err error) {
	switch fault.ClassOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Precondition:
		l.Log.Error("the hub refuses this agent", "reason", fault.ReasonOf(err), "message", fault.Public(err))
	default:
		l.Log.Warn("no session with the hub", "error", err)
	}
}
