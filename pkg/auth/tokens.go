package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// lookEvery is how often the file of tokens is looked at again.
const lookEvery = time.Second

// Tokens is a verifier for tokens that stand in a file, for installations without Keystone. It needs no closing: changes
// of the file are looked for, at most once a second, by those who ask.
type Tokens struct {
	file string
	now  func() time.Time
	log  hclog.Logger

	known atomic.Pointer[[]known]
	next  atomic.Int64 // Unix nanoseconds before which nobody looks
	mu    sync.Mutex
	seen  stamp // of the file when it was last read, well or not
	last  stamp // of the file at the last look
}

// known is a token of the file.
type known struct {
	digest  [sha256.Size]byte
	caller  *Caller
	service bool
}

// OpenTokens reads a file of tokens; see the type tokenFile for what is in it. It fails when the file is missing, wrong,
// or open to others than its owner and group. A change that is wrong is logged and the tokens stay as they were. now and
// log may be nil.
func OpenTokens(file string, now func() time.Time, log hclog.Logger) (*Tokens, error) {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	t := &Tokens{file: file, now: now, log: log}
	t.next.Store(now().Add(lookEvery).UnixNano())
	list, seen, err := readTokens(file)
	if err != nil {
		return nil, err
	}
	t.seen = seen
	t.known.Store(&list)
	return t, nil
}

// Verify finds the token in the file. It blocks only on reading the file. A service token must be marked as one there.
func (t *Tokens) Verify(ctx context.Context, token, serviceToken string) (*Caller, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list := t.current()
	own, err := t.find(list, token)
	if err != nil {
		return nil, err
	}
	if serviceToken == "" {
		return own.caller, nil
	}
	service, err := t.find(list, serviceToken)
	if err != nil {
		return nil, err
	}
	if !service.service {
		return nil, fault.New(fault.Unauthenticated, "SERVICE_TOKEN_INVALID", "the service token is not one of a service")
	}
	return own.caller.WithService(service.caller), nil
}

// find compares with every token, so that the time it takes says nothing about how close a wrong one is.
func (t *Tokens) find(list []known, token string) (*known, error) {
	if token == "" {
		return nil, fault.New(fault.Unauthenticated, "TOKEN_MISSING", "a token is needed")
	}
	digest := sha256.Sum256([]byte(token))
	found := -1
	for i := range list {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(list[i].digest[:], digest[:]), i, found)
	}
	if found < 0 || (!list[found].caller.Expires.IsZero() && !t.now().Before(list[found].caller.Expires)) {
		return nil, fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
	}
	return &list[found], nil
}

// current returns the tokens, read again if the file has changed and then stayed as it is for a second: one that is being
// written must not be taken for an empty one. One caller at a time looks.
func (t *Tokens) current() []known {
	next, now := t.next.Load(), t.now()
	if now.UnixNano() < next || !t.next.CompareAndSwap(next, now.Add(lookEvery).UnixNano()) {
		return *t.known.Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := stampOf(t.file)
	settled := seen == t.last
	t.last = seen
	if seen == t.seen || !settled {
		return *t.known.Load()
	}
	list, seen, err := readTokens(t.file)
	t.seen = seen
	if err != nil {
		t.log.Error("the file of tokens has a mistake; the tokens stay as they were", "error", err)
		return *t.known.Load()
	}
	t.known.Store(&list)
	t.log.Info("the file of tokens was read again", "tokens", len(list))
	return list
}
