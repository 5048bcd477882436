package keystone

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/trusts"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/retry"
)

// real is a running Keystone that e2e/lab/keystone.sh made, in the directory that ATOLL_TEST_KEYSTONE names.
type real struct {
	t   *testing.T
	dir string
	*Verifier
}

func newReal(t *testing.T) *real {
	t.Helper()
	dir := os.Getenv("ATOLL_TEST_KEYSTONE")
	if dir == "" {
		t.Skip("ATOLL_TEST_KEYSTONE does not name the directory of a Keystone")
	}
	r := &real{t: t, dir: dir}
	own := r.rc("glance")
	v, err := New(Options{
		AuthURL: own["OS_AUTH_URL"], Username: own["OS_USERNAME"], Password: own["OS_PASSWORD"], Project: own["OS_PROJECT_NAME"],
		CacheTTL: time.Nanosecond, RefusedTTL: time.Nanosecond, // each question reaches Keystone
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Verifier = v
	t.Cleanup(v.session.http.CloseIdleConnections)
	return r
}

// rc reads an openrc file.
func (r *real) rc(name string) map[string]string {
	r.t.Helper()
	f, err := os.Open(filepath.Join(r.dir, name+".rc"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	values := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(strings.TrimPrefix(s.Text(), "export "), "=")
		values[key] = value
	}
	return values
}

// login returns a client with a new token of a user; options may ask for another scope.
func (r *real) login(user string, change func(*tokens.AuthOptions)) *gophercloud.ServiceClient {
	r.t.Helper()
	rc := r.rc(user)
	o := &tokens.AuthOptions{
		Username: rc["OS_USERNAME"], Password: rc["OS_PASSWORD"], DomainName: "Default",
		Scope: tokens.Scope{ProjectName: rc["OS_PROJECT_NAME"], DomainName: "Default"},
	}
	if change != nil {
		change(o)
	}
	return r.authenticate(rc["OS_AUTH_URL"], o)
}

func (r *real) authenticate(url string, o *tokens.AuthOptions) *gophercloud.ServiceClient {
	r.t.Helper()
	provider, err := openstack.NewClient(url)
	if err != nil {
		r.t.Fatal(err)
	}
	provider.HTTPClient = *r.session.http
	if err := openstack.AuthenticateV3(r.t.Context(), provider, o, gophercloud.EndpointOpts{}); err != nil {
		r.t.Fatal(err)
	}
	client, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

func (r *real) verify(client *gophercloud.ServiceClient) *auth.Caller {
	r.t.Helper()
	who, err := r.Verify(r.t.Context(), client.Token(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	return who
}

func (r *real) refuses(token, service string) {
	r.t.Helper()
	if who, err := r.Verify(r.t.Context(), token, service); !fault.Is(err, fault.Unauthenticated) {
		r.t.Errorf("got %+v, %v, want Unauthenticated", who, err)
	}
}

func TestRealUsers(t *testing.T) {
	r := newReal(t)
	who := r.verify(r.login("demo", nil))
	roles := slices.Sorted(slices.Values(who.Roles))
	if who.UserName != "demo" || who.ProjectName != "demo" || who.ProjectID == "" || who.UserDomainID != "default" || !slices.Equal(roles, []string{"member", "reader"}) {
		t.Errorf("demo is %+v", who)
	}
	if left := time.Until(who.Expires); left <= 0 || left > time.Hour {
		t.Errorf("the token of demo lives for %v", left)
	}
	if who := r.verify(r.login("admin", nil)); !who.HasRole("admin") || !who.HasRole("member") || !who.HasRole("reader") || who.NotAdminProject {
		t.Errorf("admin is %+v", who)
	}
	system := r.login("admin", func(o *tokens.AuthOptions) { o.Scope = tokens.Scope{System: true} })
	if who := r.verify(system); who.SystemScope != "all" || who.ProjectID != "" {
		t.Errorf("admin of the system is %+v", who)
	}
	unscoped := r.login("demo", func(o *tokens.AuthOptions) { o.Scope = tokens.Scope{} })
	if who := r.verify(unscoped); who.ProjectID != "" || len(who.Roles) > 0 {
		t.Errorf("demo without a project is %+v", who)
	}
	r.refuses("gAAAAAB", "")
	r.refuses("not-a-token", "")
}

func TestRealServiceToken(t *testing.T) {
	r := newReal(t)
	demo, nova := r.login("demo", nil), r.login("nova", nil)
	who, err := r.Verify(t.Context(), demo.Token(), nova.Token())
	if err != nil {
		t.Fatal(err)
	}
	if who.UserName != "demo" || who.HasRole("admin") || !slices.Contains(who.ServiceRoles, "service") || who.ServiceUserID == "" {
		t.Errorf("demo beside nova is %+v", who)
	}
	r.refuses(demo.Token(), "not-a-token")
	r.refuses("not-a-token", nova.Token())
}

func TestRealRevokedToken(t *testing.T) {
	r := newReal(t)
	client := r.login("demo", nil)
	r.verify(client)
	if err := tokens.Revoke(t.Context(), client, client.Token()).Err; err != nil {
		t.Fatal(err)
	}
	r.refuses(client.Token(), "")
	// We go on after our own token was revoked.
	own, err := r.session.login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin := r.login("admin", nil)
	if err := tokens.Revoke(t.Context(), admin, own.Token()).Err; err != nil {
		t.Fatal(err)
	}
	r.verify(admin)
}

func TestRealApplicationCredential(t *testing.T) {
	r := newReal(t)
	demo := r.login("demo", nil)
	user := r.verify(demo)
	create := func(o applicationcredentials.CreateOpts) *gophercloud.ServiceClient {
		t.Helper()
		credential, err := applicationcredentials.Create(t.Context(), demo, user.UserID, o).Extract()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = applicationcredentials.Delete(context.WithoutCancel(t.Context()), demo, user.UserID, credential.ID)
		})
		return r.authenticate(r.rc("demo")["OS_AUTH_URL"], &tokens.AuthOptions{
			ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret,
		})
	}
	client := create(applicationcredentials.CreateOpts{Name: "reads", Roles: []applicationcredentials.Role{{Name: "reader"}}})
	if who := r.verify(client); who.UserID != user.UserID || who.ProjectID != user.ProjectID || !slices.Equal(who.Roles, []string{"reader"}) {
		t.Errorf("the application credential is %+v", who)
	}
	// Its rules name paths and methods, which nobody here would check.
	limited := create(applicationcredentials.CreateOpts{
		Name: "limited", AccessRules: []applicationcredentials.AccessRule{{Service: "image", Method: "GET", Path: "/v2/images"}},
	})
	r.refuses(limited.Token(), "")
}

func TestRealOwnApplicationCredential(t *testing.T) {
	r := newReal(t)
	glance := r.login("glance", nil)
	own := r.verify(glance)
	credential, err := applicationcredentials.Create(t.Context(), glance, own.UserID, applicationcredentials.CreateOpts{Name: "atoll"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = applicationcredentials.Delete(context.WithoutCancel(t.Context()), glance, own.UserID, credential.ID)
	})
	v, err := New(Options{
		AuthURL: r.rc("glance")["OS_AUTH_URL"], ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.session.http.CloseIdleConnections)
	if who, err := v.Verify(t.Context(), r.login("alt", nil).Token(), ""); err != nil || who.UserName != "alt" {
		t.Errorf("got %+v, %v", who, err)
	}
}

func TestRealTrust(t *testing.T) {
	r := newReal(t)
	demo, alt := r.login("demo", nil), r.login("alt", nil)
	trustor, trustee := r.verify(demo), r.verify(alt)
	for _, impersonate := range []bool{true, false} {
		trust, err := trusts.Create(t.Context(), demo, trusts.CreateOpts{
			Impersonation: impersonate, TrustorUserID: trustor.UserID, TrusteeUserID: trustee.UserID,
			ProjectID: trustor.ProjectID, Roles: []trusts.Role{{Name: "member"}},
		}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		client := r.login("alt", func(o *tokens.AuthOptions) { o.Scope = tokens.Scope{TrustID: trust.ID} })
		want := trustee.UserID
		if impersonate {
			want = trustor.UserID
		}
		if who := r.verify(client); who.UserID != want || who.ProjectID != trustor.ProjectID || !who.HasRole("member") {
			t.Errorf("impersonation %v: %+v", impersonate, who)
		}
		if err := trusts.Delete(t.Context(), demo, trust.ID).ExtractErr(); err != nil {
			t.Fatal(err)
		}
		r.refuses(client.Token(), "")
	}
}

func TestRealEndpoint(t *testing.T) {
	r := newReal(t)
	token := r.login("demo", nil).Token()
	url, err := r.Endpoint(t.Context(), token, "image", "public", "RegionOne")
	if err != nil || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("got %q, %v", url, err)
	}
	if _, err := r.Endpoint(t.Context(), token, "image", "public", "Nowhere"); !fault.Is(err, fault.NotFound) {
		t.Errorf("in a region that is not there: %v", err)
	}
	if _, err := r.Endpoint(t.Context(), "not-a-token", "image", "public", "RegionOne"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
}

// TestRealExpiredToken needs a Keystone whose tokens are short-lived (LAB_TOKEN_SECONDS).
func TestRealExpiredToken(t *testing.T) {
	r := newReal(t)
	demo := r.login("demo", nil)
	left := time.Until(r.verify(demo).Expires)
	if left > 10*time.Second {
		t.Skipf("tokens live for %v", left.Round(time.Second))
	}
	if err := retry.Sleep(t.Context(), left+time.Second); err != nil {
		t.Fatal(err)
	}
	r.refuses(demo.Token(), "")
	r.refuses(demo.Token(), r.login("alt", nil).Token())
	who, err := r.Verify(t.Context(), demo.Token(), r.login("nova", nil).Token())
	if err != nil || who.UserName != "demo" || !who.HasRole("member") {
		t.Errorf("beside a service token: %+v, %v", who, err)
	}
}
