// Package auth says who makes a request: the caller, and the ways to find out from a token.
package auth

import (
	"context"
	"slices"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// Caller is who makes a request, as an identity service vouches for it. It is shared and never changed.
type Caller struct {
	UserID          string
	UserName        string
	UserDomainID    string
	ProjectID       string // empty for tokens that are not for a project
	ProjectName     string
	ProjectDomainID string
	DomainID        string   // of a domain-scoped token
	SystemScope     string   // "all" for a system-scoped token
	Roles           []string // lower case
	NotAdminProject bool     // the identity service has a project for administrators, and this is another one
	// What a service token sent along by Nova or Cinder says; empty without one.
	ServiceUserID    string
	ServiceProjectID string
	ServiceRoles     []string // lower case
	// Site whose copies the caller wants to see first; empty when nothing is known.
	Site image.SiteID
	// RequestID is the id of the request, "req-" and a UUID.
	RequestID string
	// Expires is when the token stops working; zero: never.
	Expires time.Time
}

// HasRole reports whether the caller's own token has the role, which is in lower case.
func (c *Caller) HasRole(role string) bool { return c != nil && slices.Contains(c.Roles, role) }

// WithService returns a copy of the caller that also carries what a service token says.
func (c *Caller) WithService(service *Caller) *Caller {
	own := *c
	own.ServiceUserID, own.ServiceProjectID, own.ServiceRoles = service.UserID, service.ProjectID, service.Roles
	return &own
}

// Verifier finds out who a token belongs to.
type Verifier interface {
	// Verify returns the caller a token belongs to; serviceToken, empty for none, adds what a service says of itself.
	// Errors: Unauthenticated for a token that is missing, unknown, expired or revoked; Unavailable when nobody can be
	// asked. It may block on the network until ctx ends.
	Verify(ctx context.Context, token, serviceToken string) (*Caller, error)
}

type callerKey struct{}

// With returns a context that carries the caller.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns the caller of a request, nil outside of one, as in work that the hub does by itself.
func From(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
