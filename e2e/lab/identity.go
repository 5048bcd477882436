package lab

import (
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// identity is what Keystone has given a user; it is asked once.
type identity struct {
	once     sync.Once
	provider *gophercloud.ProviderClient
	project  string
	user     string
	err      error
}

func (i *identity) ask(a *Actor) {
	o := gophercloud.AuthOptions{
		IdentityEndpoint: a.Env["OS_AUTH_URL"], Username: a.Env["OS_USERNAME"], Password: a.Env["OS_PASSWORD"],
		DomainName: a.Env["OS_USER_DOMAIN_NAME"], DomainID: a.Env["OS_USER_DOMAIN_ID"],
		Scope: &gophercloud.AuthScope{
			ProjectName: a.Env["OS_PROJECT_NAME"], DomainName: a.Env["OS_PROJECT_DOMAIN_NAME"], DomainID: a.Env["OS_PROJECT_DOMAIN_ID"],
		},
		AllowReauth: true,
	}
	if i.provider, i.err = openstack.AuthenticatedClient(a.T.Context(), o); i.err != nil {
		return
	}
	result, ok := i.provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return
	}
	if p, err := result.ExtractProject(); err == nil && p != nil {
		i.project = p.ID
	}
	if u, err := result.ExtractUser(); err == nil && u != nil {
		i.user = u.ID
	}
}

func (a *Actor) identity() *identity {
	a.T.Helper()
	a.id.once.Do(func() { a.id.ask(a) })
	if a.id.err != nil {
		a.T.Fatalf("%s: Keystone: %v", a.Name, a.id.err)
	}
	return a.id
}

// Provider returns the user's authenticated gophercloud client.
func (a *Actor) Provider() *gophercloud.ProviderClient {
	a.T.Helper()
	return a.identity().provider
}

// Service returns the gophercloud client of the Image API that Keystone's catalog names.
func (a *Actor) Service() *gophercloud.ServiceClient {
	a.T.Helper()
	c, err := openstack.NewImageV2(a.Provider(), gophercloud.EndpointOpts{Region: a.Env["OS_REGION_NAME"]})
	if err != nil {
		a.T.Fatal(err)
	}
	return c
}

// Token returns a token of the user; empty for one who needs none.
func (a *Actor) Token() string {
	a.T.Helper()
	if a.id == nil {
		return ""
	}
	return a.Provider().Token()
}

// Project returns the id of the user's project.
func (a *Actor) Project() string {
	a.T.Helper()
	return a.identity().project
}

// User returns the user's id.
func (a *Actor) User() string {
	a.T.Helper()
	return a.identity().user
}
