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

// lab is a running Keystone that e2e/lab/keystone.sh made, in the directory that ATOLL_TEST_KEYSTONE_DIR names.
type lab struct {
	t   *testing.T
	dir string
	*Verifier
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := os.Getenv("ATOLL_TEST_KEYSTONE_DIR")
	if dir == "" {
		t.Skip("ATOLL_TEST_KEYSTONE_DIR does not name the directory of a Keystone")
	}
	l := &lab{t: t, dir: dir}
	own := l.rc("glance")
	v, err := New(Options{
		AuthURL: own["OS_AUTH_URL"], Username: own["OS_USERNAME"], Password: own["OS_PASSWORD"], Project: own["OS_PROJECT_NAME"],
		CacheTTL: time.Nanosecond, RefusedTTL: time.Nanosecond, // each question reaches Keystone
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Verifier = v
	t.Cleanup(v.session.http.CloseIdleConnections)
	return l
}

// rc reads an openrc file.
func (l *lab) rc(name string) map[string]string {
	l.t.Helper()
	f, err := os.Open(filepath.Join(l.dir, name+".rc"))
	if err != nil {
		l.t.Fatal(err)
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
func (l *lab) login(user string, change func(*tokens.AuthOptions)) *gophercloud.ServiceClient {
	l.t.Helper()
	rc := l.rc(user)
	o := &tokens.AuthOptions{
		Username: rc["OS_USERNAME"], Password: rc["OS_PASSWORD"], DomainName: "Default",
		Scope: tokens.Scope{ProjectName: rc["OS_PROJECT_NAME"], DomainName: "Default"},
	}
	if change != nil {
		change(o)
	}
	return l.authenticate(rc["OS_AUTH_URL"], o)
}

func (l *lab) authenticate(url string, o *tokens.AuthOptions) *gophercloud.ServiceClient {
	l.t.Helper()
	provider, err := openstack.NewClient(url)
	if err != nil {
		l.t.Fatal(err)
	}
	provider.HTTPClient = *l.session.http
	if err := openstack.AuthenticateV3(l.t.Context(), provider, o, gophercloud.EndpointOpts{}); err != nil {
		l.t.Fatal(err)
	}
	client, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
	if err != nil {
		l.t.Fatal(err)
	}
	return client
}

func (l *lab) verify(client *gophercloud.ServiceClient) *auth.Caller {
	l.t.Helper()
	who, err := l.Verify(l.t.Context(), client.Token(), "")
	if err != nil {
		l.t.Fatal(err)
	}
	return who
}

func (l *lab) refuses(token, service string) {
	l.t.Helper()
	if who, err := l.Verify(l.t.Context(), token, service); !fault.Is(err, fault.Unauthenticated) {
		l.t.Errorf("got %+v, %v, want Unauthenticated", who, err)
	}
}

func TestRealUsers(t *testing.T) {
	l := newLab(t)
	who := l.verify(l.login("demo", nil))
	roles := slices.Sorted(slices.Values(who.Roles))
	if who.UserName != "demo" || who.ProjectName != "demo" || who.ProjectID == "" || who.UserDomainID != "default" || !slices.Equal(roles, []string{"member", "reader"}) {
		t.Errorf("demo is %+v", who)
	}
	if left := time.Until(who.Expires); left <= 0 || left > time.Hour {
		t.Errorf("the token of demo lives for %v", left)
	}
	if who := l.verify(l.login("admin", nil)); !who.HasRole("admin") || !who.HasRole("member") || !who.HasRole("reader") || who.NotAdminProject {
		t.Errorf("admin is %+v", who)
	}
	system := l.login("admin", func(o *tokens.AuthOptions) { o.Scope = tokens.Scope{System: true} })
	if who := l.verify(system); who.SystemScope != "all" || who.ProjectID != "" {
		t.Errorf("admin of the system is %+v", who)
	}
	unscoped := l.login("demo", func(o *tokens.AuthOptions) { o.Scope = tokens.Scope{} })
	if who := l.verify(unscoped); who.ProjectID != "" || len(who.Roles) > 0 {
		t.Errorf("demo without a project is %+v", who)
	}
	l.refuses("gAAAAAB", "")
	l.refuses("not-a-token", "")
}

func TestRealServiceToken(t *testing.T) {
	l := newLab(t)
	demo, nova := l.login("demo", nil), l.login("nova", nil)
	who, err := l.Verify(t.Context(), demo.Token(), nova.Token())
	if err != nil {
		t.Fatal(err)
	}
	if who.UserName != "demo" || who.HasRole("admin") || !slices.Contains(who.ServiceRoles, "service") || who.ServiceUserID == "" {
		t.Errorf("demo beside nova is %+v", who)
	}
	l.refuses(demo.Token(), "not-a-token")
	l.refuses("not-a-token", nova.Token())
}

func TestRealRevokedToken(t *testing.T) {
	l := newLab(t)
	client := l.login("demo", nil)
	l.verify(client)
	if err := tokens.Revoke(t.Context(), client, client.Token()).Err; err != nil {
		t.Fatal(err)
	}
	l.refuses(client.Token(), "")
	// We go on after our own token was revoked.
	own, err := l.session.login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin := l.login("admin", nil)
	if err := tokens.Revoke(t.Context(), admin, own.Token()).Err; err != nil {
		t.Fatal(err)
	}
	l.verify(admin)
}

func TestRealApplicationCredential(t *testing.T) {
	l := newLab(t)
	demo := l.login("demo", nil)
	user := l.verify(demo)
	create := func(o applicationcredentials.CreateOpts) *gophercloud.ServiceClient {
		t.Helper()
		credential, err := applicationcredentials.Create(t.Context(), demo, user.UserID, o).Extract()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = applicationcredentials.Delete(context.WithoutCancel(t.Context()), demo, user.UserID, credential.ID)
		})
		return l.authenticate(l.rc("demo")["OS_AUTH_URL"], &tokens.AuthOptions{
			ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret,
		})
	}
	client := create(applicationcredentials.CreateOpts{Name: "reads", Roles: []applicationcredentials.Role{{Name: "reader"}}})
	if who := l.verify(client); who.UserID != user.UserID || who.ProjectID != user.ProjectID || !slices.Equal(who.Roles, []string{"reader"}) {
		t.Errorf("the application credential is %+v", who)
	}
	// Its rules name paths and methods, which nobody here would check.
	limited := create(applicationcredentials.CreateOpts{
		Name: "limited", AccessRules: []applicationcredentials.AccessRule{{Service: "image", Method: "GET", Path: "/v2/images"}},
	})
	l.refuses(limited.Token(), "")
}

func TestRealOwnApplicationCredential(t *testing.T) {
	l := newLab(t)
	glance := l.login("glance", nil)
	own := l.verify(glance)
	credential, err := applicationcredentials.Create(t.Context(), glance, own.UserID, applicationcredentials.CreateOpts{Name: "atoll"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = applicationcredentials.Delete(context.WithoutCancel(t.Context()), glance, own.UserID, credential.ID)
	})
	v, err := New(Options{
		AuthURL: l.rc("glance")["OS_AUTH_URL"], ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.session.http.CloseIdleConnections)
	if who, err := v.Verify(t.Context(), l.login("alt", nil).Token(), ""); err != nil || who.UserName != "alt" {
		t.Errorf("got %+v, %v", who, err)
	}
}

func TestRealTrust(t *testing.T) {
	l := newLab(t)
	demo, alt := l.login("demo", nil), l.login("alt", nil)
	trustor, trustee := l.verify(demo), l.verify(alt)
	for _, impersonate := range []bool{true, false} {
		trust, err := trusts.Create(t.Context(), demo, trusts.CreateOpts{
			Impersonation: impersonate, TrustorUserID: trustor.UserID, TrusteeUserID: trustee.UserID,
			ProjectID: trustor.ProjectID, Roles: []trusts.Role{{Name: "member"}},
		}).Extract()
		if err != nil {
			t.Fatal(err)
		}
		client := l.login("alt", func(o *tokens.AuthOptions) { o.Scope = tokens.Scope{TrustID: trust.ID} })
		want := trustee.UserID
		if impersonate {
			want = trustor.UserID
		}
		if who := l.verify(client); who.UserID != want || who.ProjectID != trustor.ProjectID || !who.HasRole("member") {
			t.Errorf("impersonation %v: %+v", impersonate, who)
		}
		if err := trusts.Delete(t.Context(), demo, trust.ID).ExtractErr(); err != nil {
			t.Fatal(err)
		}
		l.refuses(client.Token(), "")
	}
}

func TestRealEndpoint(t *testing.T) {
	l := newLab(t)
	token := l.login("demo", nil).Token()
	url, err := l.Endpoint(t.Context(), token, "image", "public", "RegionOne")
	if err != nil || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("got %q, %v", url, err)
	}
	if _, err := l.Endpoint(t.Context(), token, "image", "public", "Nowhere"); !fault.Is(err, fault.NotFound) {
		t.Errorf("in a region that is not there: %v", err)
	}
	if _, err := l.Endpoint(t.Context(), "not-a-token", "image", "public", "RegionOne"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
}

// TestRealExpiredToken needs a Keystone whose tokens are short-lived (LAB_TOKEN_SECONDS).
func TestRealExpiredToken(t *testing.T) {
	l := newLab(t)
	demo := l.login("demo", nil)
	left := time.Until(l.verify(demo).Expires)
	if left > 10*time.Second {
		t.Skipf("tokens live for %v", left.Round(time.Second))
	}
	if err := retry.Sleep(t.Context(), left+time.Second); err != nil {
		t.Fatal(err)
	}
	l.refuses(demo.Token(), "")
	l.refuses(demo.Token(), l.login("alt", nil).Token())
	who, err := l.Verify(t.Context(), demo.Token(), l.login("nova", nil).Token())
	if err != nil || who.UserName != "demo" || !who.HasRole("member") {
		t.Errorf("beside a service token: %+v, %v", who, err)
	}
}
