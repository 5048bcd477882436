package policy

import (
	"testing"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

func enforcer(t testing.TB, o Options) *Enforcer {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The people of the tables: m, r are member and reader of the project p1, which owns the images; o and v the same of
// another project; a is an administrator and s a service.
func people() map[byte]*auth.Caller {
	in := func(project string, roles ...string) *auth.Caller {
		return &auth.Caller{UserID: "u", ProjectID: project, Roles: roles}
	}
	return map[byte]*auth.Caller{
		'a': in("p9", "admin", "member", "reader"),
		's': in("p9", "service"),
		'm': in("p1", "member", "reader"),
		'r': in("p1", "reader"),
		'o': in("p2", "member", "reader"),
		'v': in("p2", "reader"),
	}
}

// TestDefaultRules says who may what: with a private image of p1, with one that p1 shares with p2, and with a public one.
func TestDefaultRules(t *testing.T) {
	e := enforcer(t, Options{})
	targets := [3]Map{
		{"project_id": "p1", "owner": "p1", "visibility": "private"},
		{"project_id": "p1", "owner": "p1", "visibility": "shared", "member_id": "p2"},
		{"project_id": "p1", "owner": "p1", "visibility": "public"},
	}
	const everybody = "asmrov"
	for rule, want := range map[string][3]string{
		"default":          {everybody, everybody, everybody},
		"context_is_admin": {"a", "a", "a"},
		"service_api":      {"as", "as", "as"},

		"add_image":           {"am", "am", "am"},
		"get_images":          {"amr", "amr", "amr"},
		"get_image":           {"amr", "amrov", "amrov"},
		"modify_image":        {"am", "am", "am"},
		"delete_image":        {"am", "am", "am"},
		"upload_image":        {"am", "am", "am"},
		"deactivate":          {"am", "am", "am"},
		"reactivate":          {"am", "am", "am"},
		"communitize_image":   {"am", "am", "am"},
		"publicize_image":     {"a", "a", "a"}, //nolint:misspell // the Image API's spelling
		"download_image":      {"am", "amo", "amo"},
		"download_from_store": {"am", "amo", "amo"},
		"copy_image":          {"asm", "asmo", "asmo"},

		"get_image_location":    {"amr", "amr", "amr"},
		"set_image_location":    {"am", "am", "am"},
		"delete_image_location": {"a", "a", "a"},
		"add_image_location":    {"asm", "asm", "asm"},
		"fetch_image_location":  {"as", "as", "as"},

		"add_member":    {"am", "am", "am"},
		"delete_member": {"am", "am", "am"},
		"get_member":    {"amr", "amrov", "amr"},
		"get_members":   {"amr", "amrov", "amr"},
		"modify_member": {"a", "ao", "a"},

		"manage_image_cache": {"a", "a", "a"}, "cache_image": {"a", "a", "a"}, "cache_list": {"a", "a", "a"},
		"cache_delete": {"a", "a", "a"}, "cache_clean": {"a", "a", "a"}, "cache_prune": {"a", "a", "a"},
		"list_cached_nodes":  {"a", "a", "a"},
		"stores_info_detail": {"as", "as", "as"},
		"tasks_api_access":   {"a", "a", "a"},
		"get_task":           {everybody, everybody, everybody}, "get_tasks": {everybody, everybody, everybody},
		"add_task": {everybody, everybody, everybody}, "modify_task": {everybody, everybody, everybody},

		"metadef_default":        {everybody, everybody, everybody},
		"metadef_admin":          {"a", "a", "a"},
		"get_metadef_namespaces": {"amr", "amr", "amr"},
		"get_metadef_namespace":  {"amr", "amr", "amrov"}, "get_metadef_object": {"amr", "amr", "amrov"},
		"get_metadef_objects": {"amr", "amr", "amrov"}, "list_metadef_resource_types": {"amr", "amr", "amrov"},
		"get_metadef_resource_type": {"amr", "amr", "amrov"}, "get_metadef_property": {"amr", "amr", "amrov"},
		"get_metadef_properties": {"amr", "amr", "amrov"}, "get_metadef_tag": {"amr", "amr", "amrov"},
		"get_metadef_tags": {"amr", "amr", "amrov"},

		"show_image_locations": {"as", "as", "as"},
		"manage_sites":         {"a", "a", "a"},
		"manage_operations":    {"a", "a", "a"},
	} {
		for i, target := range targets {
			var got string
			for _, who := range []byte(everybody) {
				if e.Allowed(people()[who], rule, target) {
					got += string(who)
				}
			}
			if got != want[i] {
				t.Errorf("%s of a %s image: allowed to %q, want %q", rule, target["visibility"], got, want[i])
			}
		}
	}
}

func TestMetadefsAreForAdministrators(t *testing.T) {
	e := enforcer(t, Options{})
	for _, kind := range []string{
		"modify_metadef_namespace", "add_metadef_namespace", "delete_metadef_namespace", "modify_metadef_object",
		"add_metadef_object", "delete_metadef_object", "add_metadef_resource_type_association",
		"remove_metadef_resource_type_association", "modify_metadef_property", "add_metadef_property",
		"remove_metadef_property", "modify_metadef_tag", "add_metadef_tag", "add_metadef_tags", "delete_metadef_tag",
		"delete_metadef_tags",
	} {
		if !e.Allowed(people()['a'], kind, nil) || e.Allowed(people()['m'], kind, Map{"project_id": "p1"}) {
			t.Errorf("%s is not for administrators alone", kind)
		}
	}
}

// TestServiceTokenAllowsCopies: Nova copies an image for a user who may only read it.
func TestServiceTokenAllowsCopies(t *testing.T) {
	e := enforcer(t, Options{})
	private := Map{"project_id": "p1", "owner": "p1", "visibility": "private"}
	user := people()['v']
	if e.Allowed(user, "copy_image", private) || e.Allowed(user, "show_image_locations", private) {
		t.Error("a reader of another project is allowed")
	}
	beside := user.WithService(&auth.Caller{UserID: "nova", ProjectID: "services", Roles: []string{"service"}})
	if !e.Allowed(beside, "copy_image", private) || !e.Allowed(beside, "show_image_locations", private) {
		t.Error("the service token does not count")
	}
}

// TestServiceTokenLendsNothing is about OSSN-0060: what a service is elsewhere, it is not here.
func TestServiceTokenLendsNothing(t *testing.T) {
	e := enforcer(t, Options{})
	private := Map{"project_id": "p1", "owner": "p1", "visibility": "private"}
	beside := people()['v'].WithService(&auth.Caller{UserID: "nova", ProjectID: "p1", Roles: []string{"service", "admin", "member"}})
	for _, rule := range []string{"get_image", "modify_image", "delete_image", "upload_image", "context_is_admin", "add_member"} {
		if e.Allowed(beside, rule, private) {
			t.Errorf("%s: the roles of the service count as the user's", rule)
		}
	}
}

// TestPublishingIsForAdministrators is about OSSN-0015.
func TestPublishingIsForAdministrators(t *testing.T) {
	e := enforcer(t, Options{})
	own := Map{"project_id": "p1", "owner": "p1", "visibility": "private"}
	if e.Allowed(people()['m'], "publicize_image", own) || !e.Allowed(people()['a'], "publicize_image", own) { //nolint:misspell // the Image API's spelling
		t.Error("an owner publishes, or an administrator does not")
	}
}

func TestScopes(t *testing.T) {
	e := enforcer(t, Options{})
	roles := []string{"admin", "member", "reader"}
	system := &auth.Caller{UserID: "u", SystemScope: "all", Roles: roles}
	domain := &auth.Caller{UserID: "u", DomainID: "d", Roles: roles}
	unscoped := &auth.Caller{UserID: "u"}
	public := Map{"project_id": "p1", "owner": "p1", "visibility": "public"}
	for _, d := range defaults {
		if d.scopes == anyScope {
			continue
		}
		own := d.name == "manage_sites" || d.name == "manage_operations"
		if got := e.Allowed(system, d.name, public); got != own {
			t.Errorf("%s for a system token: %v", d.name, got)
		}
		if e.Allowed(domain, d.name, public) {
			t.Errorf("%s for a domain token is allowed", d.name)
		}
	}
	for _, rule := range []string{"get_images", "get_image", "add_image", "copy_image"} {
		if e.Allowed(unscoped, rule, public) {
			t.Errorf("%s without a project is allowed", rule)
		}
	}
	if e.Allowed(nil, "default", nil) {
		t.Error("nobody at all is allowed something")
	}
}

// TestNothingEqualsNothing: an image without an owner does not belong to a token without a project.
func TestNothingEqualsNothing(t *testing.T) {
	e := enforcer(t, Options{})
	orphan := Map{"project_id": "", "owner": "", "visibility": "private"}
	stray := &auth.Caller{UserID: "u", Roles: []string{"member", "reader"}}
	for _, rule := range []string{"get_image", "modify_image", "delete_image"} {
		if e.Allowed(stray, rule, orphan) || e.Allowed(stray, rule, nil) {
			t.Errorf("%s is allowed", rule)
		}
	}
}
