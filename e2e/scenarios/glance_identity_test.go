package scenarios

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/trusts"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// identity returns the gophercloud client of Keystone for a user.
func (c *cloud) identity(a *lab.Actor) *gophercloud.ServiceClient {
	c.T.Helper()
	sc, err := openstack.NewIdentityV3(a.Provider(), gophercloud.EndpointOpts{Region: a.Env["OS_REGION_NAME"]})
	c.must(err)
	return sc
}

// applicationCredential works in the place of a password.
func applicationCredential(c *cloud) {
	made, err := applicationcredentials.Create(c.T.Context(), c.identity(c.Demo), c.Demo.User(), applicationcredentials.CreateOpts{Name: c.Dir}).Extract()
	c.must(err)
	robot := *c.Demo
	robot.Name = "robot"
	robot.Env = maps.Clone(c.Demo.Env)
	maps.DeleteFunc(robot.Env, func(name, _ string) bool {
		return slices.Contains([]string{"OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME", "OS_PROJECT_NAME", "OS_PROJECT_DOMAIN_NAME"}, name)
	})
	robot.Env["OS_AUTH_TYPE"] = "v3applicationcredential"
	robot.Env["OS_APPLICATION_CREDENTIAL_ID"], robot.Env["OS_APPLICATION_CREDENTIAL_SECRET"] = made.ID, made.Secret
	var image lab.Object
	robot.OpenStackJSON(&image, "image", "create", "by a robot", "--file", c.file)
	c.equal("owner", c.Demo.Image(image.Text("id")).Text("owner"), c.Demo.Project())
	c.holds(c.Demo, image.Text("id"), "central")
}

// trust lets a user act in another project.
func trust(c *cloud) {
	ctx := c.T.Context()
	made, err := trusts.Create(ctx, c.identity(c.Demo), trusts.CreateOpts{
		Impersonation: true, TrustorUserID: c.Demo.User(), TrusteeUserID: c.Alt.User(), ProjectID: c.Demo.Project(), Roles: []trusts.Role{{Name: "member"}},
	}).Extract()
	c.must(err)
	provider, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: c.Alt.Env["OS_AUTH_URL"], UserID: c.Alt.User(), Password: c.Alt.Env["OS_PASSWORD"], Scope: &gophercloud.AuthScope{TrustID: made.ID},
	})
	c.must(err)
	image := c.Alt.Call(http.MethodPost, "/v2/images", lab.Object{"name": "in trust"}, "X-Auth-Token", provider.Token()).Is(http.StatusCreated).JSON()
	c.equal("owner", image.Text("owner"), c.Demo.Project())
}

// refusedTokens get 401, and readers cannot write.
func refusedTokens(c *cloud) {
	for name, token := range map[string]string{"none": "", "unknown": "gAAAAABunknown", "long": strings.Repeat("x", 20000), "odd": "a\tb"} {
		answer := c.Demo.Call(http.MethodGet, "/v2/images", nil, "X-Auth-Token", token)
		answer.Is(http.StatusUnauthorized, http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge)
		if answer.Code == http.StatusUnauthorized && !strings.Contains(answer.Header.Get("WWW-Authenticate"), "Keystone") {
			c.T.Errorf("%s: WWW-Authenticate is %q", name, answer.Header.Get("WWW-Authenticate"))
		}
	}
	c.Reader.Call(http.MethodGet, "/v2/images", nil).Is(http.StatusOK)
	c.Reader.Call(http.MethodPost, "/v2/images", lab.Object{"name": "never"}).Is(http.StatusForbidden)
	id := c.create(c.Demo, nil)
	c.equal("name", c.Reader.Image(id).Text("name"), c.T.Name())
	c.Reader.Patch(id, lab.Op("replace", "/name", "never")).Is(http.StatusForbidden)
	c.Reader.Call(http.MethodGet, "/v2/images/"+id+"/file", nil).Is(http.StatusForbidden)
	c.Reader.Call(http.MethodDelete, "/v2/images/"+id, nil).Is(http.StatusForbidden)
	// Tokens that are not for a project see nothing.
	for _, scope := range []*gophercloud.AuthScope{nil, {System: true}} {
		provider, err := openstack.AuthenticatedClient(c.T.Context(), gophercloud.AuthOptions{
			IdentityEndpoint: c.Admin.Env["OS_AUTH_URL"], Username: c.Admin.Env["OS_USERNAME"], Password: c.Admin.Env["OS_PASSWORD"], DomainName: "Default", Scope: scope,
		})
		c.must(err)
		c.Admin.Call(http.MethodGet, "/v2/images", nil, "X-Auth-Token", provider.Token()).Is(http.StatusForbidden, http.StatusUnauthorized)
	}
}

// twoFaces changes images through one API and sees that in the other.
func twoFaces(c *cloud) {
	ctx := c.T.Context()
	id := c.create(c.Demo, lab.Object{"os_distro": "one"})
	got := c.Lab.Image(id)
	if got.Status != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE || got.Properties["os_distro"] != "one" || got.Owner != c.Demo.Project() {
		c.T.Errorf("through gRPC: %v", got)
	}
	made, err := c.Client.Images.CreateImage(ctx, &hubv1.CreateImageRequest{Image: &hubv1.Image{Name: "from gRPC", Properties: map[string]string{"os_distro": "two"}}})
	c.must(err)
	shown := c.Admin.Image(made.Image.Id)
	c.equal("name", shown.Text("name"), "from gRPC")
	c.equal("os_distro", shown.Text("os_distro"), "two")
	c.equal("owner", shown.Text("owner"), c.Admin.Project())
	c.drop(c.Admin, made.Image.Id)
	if _, err := c.Client.Images.GetImage(ctx, &hubv1.GetImageRequest{Id: made.Image.Id}); reason(err) != "IMAGE_NOT_FOUND" {
		c.T.Errorf("a deleted image through gRPC: %v", err)
	}
	if out, errs, code := c.Ctl("image", "list"); code == 0 {
		c.T.Errorf("gRPC without a token answers: %s%s", out, errs)
	}
}
