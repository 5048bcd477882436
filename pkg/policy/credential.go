package policy

import "github.com/atoll-dcn/atoll/pkg/auth"

// credentials are the values of a token that rules can name. The dotted names follow the structure of Keystone's tokens;
// they may also be written with "token." before them.
var credentials = map[string]func(*auth.Caller) string{
	"user_id":            func(c *auth.Caller) string { return c.UserID },
	"user":               func(c *auth.Caller) string { return c.UserID },
	"user.id":            func(c *auth.Caller) string { return c.UserID },
	"user_name":          func(c *auth.Caller) string { return c.UserName },
	"user.name":          func(c *auth.Caller) string { return c.UserName },
	"user_domain_id":     func(c *auth.Caller) string { return c.UserDomainID },
	"user_domain":        func(c *auth.Caller) string { return c.UserDomainID },
	"user.domain.id":     func(c *auth.Caller) string { return c.UserDomainID },
	"project_id":         func(c *auth.Caller) string { return c.ProjectID },
	"tenant_id":          func(c *auth.Caller) string { return c.ProjectID },
	"tenant":             func(c *auth.Caller) string { return c.ProjectID },
	"project.id":         func(c *auth.Caller) string { return c.ProjectID },
	"project_name":       func(c *auth.Caller) string { return c.ProjectName },
	"project.name":       func(c *auth.Caller) string { return c.ProjectName },
	"project_domain_id":  func(c *auth.Caller) string { return c.ProjectDomainID },
	"project_domain":     func(c *auth.Caller) string { return c.ProjectDomainID },
	"project.domain.id":  func(c *auth.Caller) string { return c.ProjectDomainID },
	"domain_id":          func(c *auth.Caller) string { return c.DomainID },
	"domain.id":          func(c *auth.Caller) string { return c.DomainID },
	"domain":             func(c *auth.Caller) string { return c.DomainID },
	"system_scope":       func(c *auth.Caller) string { return c.SystemScope },
	"service_user_id":    func(c *auth.Caller) string { return c.ServiceUserID },
	"service_project_id": func(c *auth.Caller) string { return c.ServiceProjectID },
	"is_admin_project":   func(c *auth.Caller) string { return pythonBool(!c.NotAdminProject) },
}

// credentialLists are the credentials with several values, of which any may match.
var credentialLists = map[string]func(*auth.Caller) []string{
	"roles":              func(c *auth.Caller) []string { return c.Roles },
	"service_roles":      func(c *auth.Caller) []string { return c.ServiceRoles },
	"roles.name":         func(c *auth.Caller) []string { return c.Roles },
	"service_roles.name": func(c *auth.Caller) []string { return c.ServiceRoles },
}
