package keystone

import (
	"errors"
	"strings"
	"time"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// tokenBody is what Keystone says of a token. Tokens from application credentials and trusts look like others: their
// roles and project are those that were delegated.
type tokenBody struct {
	User    named  `json:"user"`
	Project *named `json:"project"`
	Domain  *named `json:"domain"`
	System  *struct {
		All bool `json:"all"`
	} `json:"system"`
	Roles          []named   `json:"roles"`
	ExpiresAt      time.Time `json:"expires_at"`
	IsAdminProject *bool     `json:"is_admin_project"`
}

type named struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain struct {
		ID string `json:"id"`
	} `json:"domain"`
}

func (t *tokenBody) caller() (*auth.Caller, error) {
	if t.User.ID == "" || t.ExpiresAt.IsZero() {
		return nil, errUnreachable(errors.New("keystone answered without a user or a time"))
	}
	c := &auth.Caller{
		UserID: t.User.ID, UserName: t.User.Name, UserDomainID: t.User.Domain.ID,
		Roles:           make([]string, 0, len(t.Roles)),
		NotAdminProject: t.IsAdminProject != nil && !*t.IsAdminProject,
		Expires:         t.ExpiresAt,
	}
	for _, role := range t.Roles {
		c.Roles = append(c.Roles, strings.ToLower(role.Name))
	}
	if t.Project != nil {
		c.ProjectID, c.ProjectName, c.ProjectDomainID = t.Project.ID, t.Project.Name, t.Project.Domain.ID
	}
	if t.Domain != nil {
		c.DomainID = t.Domain.ID
	}
	if t.System != nil && t.System.All {
		c.SystemScope = "all"
	}
	return c, nil
}
