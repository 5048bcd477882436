package policy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compiled returns rules over the defaults, and what the log was told.
func compiled(t testing.TB, own map[string]any) (*ruleset, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	rules, err := compile(own, nil, hclog.New(&hclog.LoggerOptions{Output: log}))
	if err != nil {
		t.Fatal(err)
	}
	return rules, log
}

// alice is the caller of the tables below, and sunset what they are about.
func alice() *auth.Caller {
	return &auth.Caller{
		UserID: "u1", ProjectID: "p1", ProjectDomainID: "default", Roles: []string{"admin", "member"},
		ServiceUserID: "nova", ServiceRoles: []string{"service", "reader"},
	}
}

func sunset() Map {
	return Map{
		"project_id": "p1", "owner": "p1", "visibility": "public", "role": "MEMBER", "protected": "True", "min_disk": "3",
		"half": "1", "a b": "v", "empty": "",
	}
}

func list(items ...any) []any { return items }

func TestExpressions(t *testing.T) {
	const mistake = "mistake" // the rule denies, and so does its negation
	for _, test := range []struct {
		rule any
		want any
	}{
		{"", true},
		{"   ", true},
		{"@", true},
		{"!", false},
		{list(), true},
		{list(list()), false},
		{list("role:admin"), true},
		{list(list("role:admin", "role:nope"), list("role:member")), true},
		{list(list("role:admin", "role:nope"), "role:none"), false},
		{list(list("role:admin", "role:member")), true},
		{list(5), mistake},
		{list("not role:admin"), mistake},
		{5, mistake},
		{nil, mistake},
		{true, mistake},
		{map[string]any{"role": "admin"}, mistake},

		{"role:admin", true},
		{"role:ADMIN", true},
		{"role:nope", false},
		{"role:%(role)s", true},
		{"role:%(missing)s", false},
		{"role:", mistake},
		{"role", mistake},
		{"and", mistake},
		{"role:service", false},

		{"project_id:%(owner)s", true},
		{"project_id:%(missing)s", false},
		{"project_id:%(empty)s", false},
		{"project_id:p%(half)s", true},
		{"project_id:%(owner)sx", false},
		{"project_id:100%%", false},
		{"project_id:%(owner)", mistake},
		{"project_id:%(owner)d", mistake},
		{"project_id:%", mistake},
		{"project_id:%()s", mistake},
		{"user_id:u1", true},
		{"user_id:U1", false},
		{"domain_id:%(empty)s", false},
		{"domain_id:None", false},
		{"token.project.domain.id:default", true},
		{"project.domain.id:other", false},
		{"service_roles:service", true},
		{"service_roles:reader", true},
		{"service_roles:member", false},
		{"roles:member", true},
		{"service_user_id:nova", true},
		{"is_admin:True", true},
		{"is_admin:true", false},
		{"is_admin:%(protected)s", true},
		{"is_admin_project:True", true},
		{"nobody_has_this:x", false},
		{"not nobody_has_this:x", true},

		{"'public':%(visibility)s", true},
		{`"public":%(visibility)s`, true},
		{"'private':%(visibility)s", false},
		{"public:%(visibility)s", false},
		{"'public:%(visibility)s", mistake},
		{"'a b':%(a b)s", mistake},
		{"True:%(protected)s", true},
		{"False:%(protected)s", false},
		{"True:%(missing)s", false},
		{"None:%(missing)s", false},
		{"3:%(min_disk)s", true},
		{"03:%(min_disk)s", true},
		{"-3:%(min_disk)s", false},
		{"%(owner)s:p1", mistake},
		{"[1]:[1]", mistake},
		{":x", mistake},

		{"not role:nope", true},
		{"not not role:admin", true},
		{"NOT role:nope", true},
		{"role:admin AND role:nope", false},
		{"role:nope or role:nope and role:member or role:admin", true},
		{"role:admin or role:nope and role:nope", true},
		{"role:nope and role:nope or role:member", true},
		{"not role:nope and role:nope", false},
		{"not (role:nope and role:nope)", true},
		{"(role:admin or role:nope) and role:nope", false},
		{"((role:admin) and @)", true},
		{"( role:admin )", true},
		{"role:admin\n\tand role:member", true},
		{"not(role:nope)", mistake},
		{"(role:admin)and(role:member)", mistake},
		{"(role:admin", mistake},
		{"role:admin)", mistake},
		{"()", mistake},
		{"role:admin role:member", mistake},
		{"role:admin or", mistake},
		{"or role:admin", mistake},
		{"not", mistake},
		{"role:admin not role:nope", mistake},
		{strings.Repeat("(", 101) + "@" + strings.Repeat(")", 101), mistake},
		{strings.Repeat(" ", maxText) + "@", mistake},

		{"rule:context_is_admin", true},
		{"rule:there_is_none", true}, // the rule "default" allows
		{"rule:", mistake},
		{"http://example.org/", mistake}, // not switched on
	} {
		t.Run(fmt.Sprint(test.rule)[:min(len(fmt.Sprint(test.rule)), 60)], func(t *testing.T) {
			rules, log := compiled(t, map[string]any{"it": test.rule})
			got := rules.allowed(alice(), "it", sunset())
			wrong := strings.Contains(log.String(), "has a mistake")
			if test.want == mistake {
				if got || !wrong || !strings.Contains(log.String(), "rule=it") {
					t.Errorf("allowed %v, log %q; want a mistake that denies and is logged", got, log)
				}
			} else if got != test.want || wrong {
				t.Errorf("allowed %v, want %v; log %q", got, test.want, log)
			}
		})
	}
}

func TestMistakeInANegationDenies(t *testing.T) {
	rules, _ := compiled(t, map[string]any{"it": "not role:"})
	if rules.allowed(alice(), "it", nil) {
		t.Error("a check with a mistake was negated into a permission")
	}
}

func TestDefaultRule(t *testing.T) {
	rules, log := compiled(t, map[string]any{"default": "!", "it": "rule:misspelt"})
	if rules.allowed(alice(), "it", nil) {
		t.Error("the rule \"default\" was not asked")
	}
	if !strings.Contains(log.String(), "refers_to=misspelt") {
		t.Errorf("the log says nothing of the rule that is missing: %q", log)
	}
	if rules.allowed(alice(), "not_a_rule", nil) {
		t.Error("a rule that does not exist allows")
	}
	rules, _ = compiled(t, map[string]any{"default": "rule:misspelt"})
	if rules.allowed(alice(), "default", nil) {
		t.Error("the rule \"default\" referred to itself")
	}
}

func TestRulesOfFilesThatDoNothingAreReported(t *testing.T) {
	_, log := compiled(t, map[string]any{"dowload_image": "!", "helper": "role:x", "get_image": "rule:helper"})
	if !strings.Contains(log.String(), "rule=dowload_image") || strings.Contains(log.String(), "rule=helper") {
		t.Errorf("log %q, want a word on the misspelt rule alone", log)
	}
	_, log = compiled(t, map[string]any{"get_image": "projct_id:%(owner)s"})
	if !strings.Contains(log.String(), "credential=projct_id") {
		t.Errorf("log %q, want a word on the credential", log)
	}
}

func TestCirclesAreRefused(t *testing.T) {
	for name, own := range map[string]map[string]any{
		"a -> a":           {"a": "role:x or rule:a"},
		"a -> b -> c -> a": {"a": "rule:b", "b": "not rule:c", "c": list("rule:a")},
		"context_is_admin": {"context_is_admin": "is_admin:True"},
	} {
		_, err := compile(own, nil, hclog.NewNullLogger())
		if err == nil || !strings.Contains(err.Error(), "circle: "+strings.Split(name, " ")[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRulesThatTakeTooLongAreRefused(t *testing.T) {
	own := map[string]any{"r0": "role:x and role:y"}
	for i := range 20 {
		own[fmt.Sprintf("r%d", i+1)] = fmt.Sprintf("rule:r%d or rule:r%d", i, i)
	}
	if _, err := compile(own, nil, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "more than 10000 checks") {
		t.Errorf("a million checks: %v", err)
	}
}

// tree is an expression whose value is known.
type tree struct {
	text  string
	value bool
}

func trees(depth int) *rapid.Generator[tree] {
	leaf := rapid.SampledFrom([]tree{
		{"@", true},
		{"!", false},
		{"role:admin", true},
		{"role:nope", false},
		{"project_id:%(owner)s", true},
		{"'private':%(visibility)s", false},
		{"rule:context_is_admin", true},
	})
	if depth == 0 {
		return leaf
	}
	return rapid.Custom(func(t *rapid.T) tree {
		a, b := trees(depth-1), trees(depth-1)
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			x := a.Draw(t, "operand")
			return tree{"not (" + x.text + ")", !x.value}
		case 1:
			x, y := a.Draw(t, "left"), b.Draw(t, "right")
			return tree{"( " + x.text + ") and (" + y.text + " )", x.value && y.value}
		case 2:
			x, y := a.Draw(t, "left"), b.Draw(t, "right")
			return tree{"(" + x.text + ") OR (" + y.text + ")", x.value || y.value}
		default:
			return leaf.Draw(t, "leaf")
		}
	})
}

func TestRandomExpressions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := trees(4).Draw(rt, "expression")
		rules, log := compiled(t, map[string]any{"it": x.text})
		if got := rules.allowed(alice(), "it", sunset()); got != x.value || strings.Contains(log.String(), "mistake") {
			rt.Fatalf("%s = %v, want %v; log %q", x.text, got, x.value, log)
		}
	})
}

// FuzzExpression: whatever the text is, it compiles or denies; the library accepts what it is given.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"role:admin or (not 'x':%(y)s)", "((((", "not not", "a:%(b", "'':''", "rule:default and @ !"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, log := compiled(t, map[string]any{"it": text})
		if got := rules.allowed(alice(), "it", sunset()); got && strings.Contains(log.String(), "has a mistake") {
			t.Errorf("%q has a mistake and allows", text)
		}
	})
}
