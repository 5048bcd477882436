// Package keystone verifies tokens with OpenStack's identity service.
//
// A token is verified once for a request, at its start. A transfer that takes longer than the token lives goes on: what it
// may do was decided when it began.
package keystone

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/auth/internal/lru"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// maxToken is the longest token, in bytes, that Keystone is asked about: a question with it still fits into the 4 KiB that
// a uWSGI server takes by default. It hangs up on longer ones, as a Keystone that is dead does, so that anybody could have
// made it look dead to all.
const maxToken = 3 << 10

// Verifier asks Keystone who tokens belong to, and remembers the answers. Its methods may be called at the same time. It
// has no goroutines of its own: whoever needs an answer fetches it, and those who need the same one wait for it.
type Verifier struct {
	session session
	o       Options

	mu      sync.Mutex
	known   *lru.Cache[digest, answer]    // tokens that were valid when they were fetched
	refused *lru.Cache[digest, time.Time] // tokens that are not valid, and until when that is believed
	flights map[digest]*flight
	outage  outage
}

// digest stands for a token and for how it is verified. Tokens themselves are never kept.
type digest [sha256.Size]byte

// answer is what Keystone said about a token.
type answer struct {
	caller  *auth.Caller
	fetched time.Time
}

// flight is a question that is on its way.
type flight struct {
	timeout time.Duration
	done    chan struct{}
	caller  *auth.Caller // valid once done is closed
	err     error
}

// New returns a verifier. It does not need Keystone to be there yet; an error is about the options.
func New(o Options) (*Verifier, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	client, err := newHTTPClient(o)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		o:       o,
		known:   lru.New[digest, answer](o.CacheSize),
		refused: lru.New[digest, time.Time](o.CacheSize),
		flights: make(map[digest]*flight),
	}
	v.session.start(o, client)
	return v, nil
}

// Verify returns the caller that a token belongs to, from memory if it was verified a short while ago. A token that is
// remembered goes on working until it expires while Keystone cannot be reached. It blocks for at most Options.Timeout for
// each of the tokens; the end of ctx ends it early only while it waits for an answer that others asked for.
//
// A token that a service sends along must itself be valid. If it has a service role, the user's token may have expired,
// as long as Keystone's allow_expired_window says so: services go on with work that users began.
func (v *Verifier) Verify(ctx context.Context, token, serviceToken string) (*auth.Caller, error) {
	if token == "" {
		return nil, fault.New(fault.Unauthenticated, "TOKEN_MISSING", "a token is needed")
	}
	if serviceToken == "" {
		return v.verify(ctx, token, false)
	}
	service, err := v.verify(ctx, serviceToken, false)
	if fault.Is(err, fault.Unauthenticated) {
		return nil, fault.Wrap(err, fault.Unauthenticated, "SERVICE_TOKEN_INVALID", "the service token is not valid")
	} else if err != nil {
		return nil, err
	}
	user, err := v.verify(ctx, token, false)
	if fault.Is(err, fault.Unauthenticated) && slices.ContainsFunc(v.o.ServiceRoles, service.HasRole) {
		user, err = v.verify(ctx, token, true)
	}
	if err != nil {
		return nil, err
	}
	return user.WithService(service), nil
}

// verify finds out about one token; expired says that it may have expired.
func (v *Verifier) verify(ctx context.Context, token string, expired bool) (*auth.Caller, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !wellFormed(token) {
		return nil, errInvalid()
	}
	key := keyOf(token, expired)
	caller, f, leader, err := v.look(key)
	switch {
	case caller != nil || err != nil:
		return caller, err
	case leader:
		// Others may wait for the answer, so it is fetched even if this caller goes away.
		v.fly(context.WithoutCancel(ctx), key, f, token, expired)
	default:
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
	}
	return f.caller, f.err
}

// wellFormed reports whether a text can be a token at all; Keystone is not asked about others.
func wellFormed(token string) bool {
	return len(token) <= maxToken && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

func keyOf(token string, expired bool) digest {
	if expired {
		return sha256.Sum256([]byte("expired:" + token)) // ":" is in no token, so no two keys are the same
	}
	return sha256.Sum256([]byte(token))
}

func errInvalid() error {
	return fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the token is not valid")
}

// look returns what is remembered, or the flight that will know; leader says that the caller has to fly it.
func (v *Verifier) look(key digest) (_ *auth.Caller, _ *flight, leader bool, _ error) {
	now := v.o.Now()
	remembered := false
	v.mu.Lock()
	defer v.mu.Unlock()
	if a, ok := v.known.Get(key); ok {
		switch {
		case !now.Before(a.caller.Expires):
			v.known.Remove(key)
		case now.Before(a.fetched.Add(v.o.CacheTTL)) || now.Before(v.outage.slow):
			return a.caller, nil, false, nil
		default:
			remembered = true
		}
	}
	if until, ok := v.refused.Get(key); ok {
		if now.Before(until) {
			return nil, nil, false, errInvalid()
		}
		v.refused.Remove(key)
	}
	if now.Before(v.outage.down) {
		return nil, nil, false, errUnreachable(nil)
	}
	if f, ok := v.flights[key]; ok {
		return nil, f, false, nil
	}
	v.outage.probe(now, v.o.Timeout)
	f := &flight{done: make(chan struct{}), timeout: v.o.Timeout}
	if remembered {
		f.timeout = v.o.RefreshTimeout
	}
	v.flights[key] = f
	return nil, f, true, nil
}

// fly asks Keystone and tells all who wait.
func (v *Verifier) fly(ctx context.Context, key digest, f *flight, token string, expired bool) {
	f.err = errUnreachable(errors.New("the question was not finished"))
	defer func() { // also if the question panics: nobody waits for ever
		v.mu.Lock()
		delete(v.flights, key)
		v.mu.Unlock()
		close(f.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	caller, err := v.session.validate(ctx, token, expired)
	f.caller, f.err = v.settle(key, caller, err, expired)
}

// settle remembers an answer, and falls back to the last one when there is none.
func (v *Verifier) settle(key digest, caller *auth.Caller, err error, expired bool) (*auth.Caller, error) {
	now := v.o.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !fault.Is(err, fault.Unavailable) {
		v.outage.end()
	}
	switch {
	case err == nil && now.Before(caller.Expires):
		v.known.Put(key, answer{caller: caller, fetched: now})
		return caller, nil
	case err == nil && expired:
		return caller, nil // works only beside a service token, and is asked about each time
	case err == nil:
		return nil, errInvalid() // Keystone's clock and ours differ
	case !fault.Is(err, fault.Unavailable):
		v.known.Remove(key)
		v.refused.Put(key, now.Add(v.o.RefusedTTL))
		return nil, err
	}
	old, ok := v.known.Get(key)
	ok = ok && now.Before(old.caller.Expires)
	// A Keystone that is only too slow for what is remembered may still answer about other tokens.
	dead := !wasAnswered(err) && (!ok || !errors.Is(err, context.DeadlineExceeded))
	if v.outage.failed(now, v.o.DownTime, dead) {
		v.o.Log.Warn("the identity service does not answer; tokens that are remembered go on until they expire", "error", err)
	}
	if ok {
		return old.caller, nil
	}
	return nil, err
}
