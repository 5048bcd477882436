package policy

import "github.com/atoll-dcn/atoll/pkg/auth"

// Names of rules that mean something to this package.
const (
	defaultRule = "default"          // decides for rules that do not exist
	adminRule   = "context_is_admin" // makes a caller an administrator
)

// scope says for which kinds of tokens a rule is; others are refused whatever the rule's text says.
type scope uint8

const (
	anyScope     scope = 0
	projectScope scope = 1 << iota // tokens for a project, or for nothing
	systemScope                    // tokens for the whole system
)

// fit reports whether the caller's token is of a kind that the rule is for.
func (s scope) fit(c *auth.Caller) bool {
	switch {
	case s == anyScope:
		return true
	case c.SystemScope != "":
		return s&systemScope != 0
	case c.DomainID != "":
		return false
	default:
		return s&projectScope != 0
	}
}

// Parts that the texts of the default rules share.
const (
	admin     = "rule:context_is_admin"
	service   = "rule:service_api"
	inProject = "project_id:%(project_id)s"
	isMember  = "project_id:%(member_id)s"
	owner     = "(role:member and " + inProject + ")"
	reader    = "(role:reader and " + inProject + ")"
	seen      = "(" + inProject + " or " + isMember + " or 'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s)"
	metadef   = admin + " or (role:reader and (" + inProject + " or 'public':%(visibility)s))"
)

// defaultOf is a rule as it is without a policy file.
type defaultOf struct {
	name   string
	text   string
	scopes scope
}

// defaults are all rules that Atoll asks for: the Image API's with its current ("secure RBAC") texts, and our own.
var defaults = []defaultOf{
	{defaultRule, "", anyScope},
	{adminRule, "role:admin", anyScope},
	{"service_api", "role:service or role:admin", anyScope},

	{"add_image", admin + " or (role:member and " + inProject + " and project_id:%(owner)s)", projectScope},
	{"get_images", admin + " or " + reader, projectScope},
	{"get_image", admin + " or (role:reader and " + seen + ")", projectScope},
	{"modify_image", admin + " or " + owner, projectScope},
	{"delete_image", admin + " or " + owner, projectScope},
	{"upload_image", admin + " or " + owner, projectScope},
	{"deactivate", admin + " or " + owner, projectScope},
	{"reactivate", admin + " or " + owner, projectScope},
	{"publicize_image", admin, projectScope}, //nolint:misspell // the Image API's spelling
	{"communitize_image", admin + " or " + owner, projectScope},
	{"download_image", admin + " or (role:member and " + seen + ")", projectScope},
	{"download_from_store", admin + " or (role:member and " + seen + ")", projectScope},
	// The Image API's own text is "rule:context_is_admin": then no user can boot at an edge that lacks the image.
	{"copy_image", admin + " or role:service or service_roles:service or (role:member and (" + inProject + " or " + isMember +
		" or 'public':%(visibility)s or 'community':%(visibility)s))", projectScope},

	{"get_image_location", admin + " or " + reader, projectScope},
	{"set_image_location", admin + " or " + owner, projectScope},
	{"delete_image_location", admin, projectScope},
	{"add_image_location", service + " or (role:member and " + inProject + " and project_id:%(owner)s)", projectScope},
	{"fetch_image_location", service, projectScope},

	{"add_member", admin + " or " + owner, projectScope},
	{"delete_member", admin + " or " + owner, projectScope},
	{"get_member", admin + " or (role:reader and (" + inProject + " or " + isMember + "))", projectScope},
	{"get_members", admin + " or (role:reader and (" + inProject + " or " + isMember + "))", projectScope},
	{"modify_member", admin + " or (role:member and " + isMember + ")", projectScope},

	{"manage_image_cache", admin, projectScope},
	{"cache_image", admin, projectScope},
	{"cache_list", admin, projectScope},
	{"cache_delete", admin, projectScope},
	{"cache_clean", admin, projectScope},
	{"cache_prune", admin, projectScope},
	{"list_cached_nodes", admin, projectScope},

	{"stores_info_detail", admin + " or " + service, projectScope},

	{"tasks_api_access", admin, projectScope},
	{"get_task", "rule:default", projectScope},
	{"get_tasks", "rule:default", projectScope},
	{"add_task", "rule:default", projectScope},
	{"modify_task", "rule:default", projectScope},

	{"metadef_default", "", anyScope},
	{"metadef_admin", admin, anyScope},
	{"get_metadef_namespaces", admin + " or " + reader, projectScope},
	{"get_metadef_namespace", metadef, projectScope},
	{"modify_metadef_namespace", "rule:metadef_admin", projectScope},
	{"add_metadef_namespace", "rule:metadef_admin", projectScope},
	{"delete_metadef_namespace", "rule:metadef_admin", projectScope},
	{"get_metadef_object", metadef, projectScope},
	{"get_metadef_objects", metadef, projectScope},
	{"modify_metadef_object", "rule:metadef_admin", projectScope},
	{"add_metadef_object", "rule:metadef_admin", projectScope},
	{"delete_metadef_object", "rule:metadef_admin", projectScope},
	{"list_metadef_resource_types", metadef, projectScope},
	{"get_metadef_resource_type", metadef, projectScope},
	{"add_metadef_resource_type_association", "rule:metadef_admin", projectScope},
	{"remove_metadef_resource_type_association", "rule:metadef_admin", projectScope},
	{"get_metadef_property", metadef, projectScope},
	{"get_metadef_properties", metadef, projectScope},
	{"modify_metadef_property", "rule:metadef_admin", projectScope},
	{"add_metadef_property", "rule:metadef_admin", projectScope},
	{"remove_metadef_property", "rule:metadef_admin", projectScope},
	{"get_metadef_tag", metadef, projectScope},
	{"get_metadef_tags", metadef, projectScope},
	{"modify_metadef_tag", "rule:metadef_admin", projectScope},
	{"add_metadef_tag", "rule:metadef_admin", projectScope},
	{"add_metadef_tags", "rule:metadef_admin", projectScope},
	{"delete_metadef_tag", "rule:metadef_admin", projectScope},
	{"delete_metadef_tags", "rule:metadef_admin", projectScope},

	// Atoll's own.
	{"show_image_locations", "role:admin or role:service or service_roles:service", projectScope},
	{"manage_sites", admin, projectScope | systemScope},
	{"manage_operations", admin, projectScope | systemScope},
}
