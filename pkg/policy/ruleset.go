package policy

import (
	"strconv"

	goslo "github.com/databus23/goslo.policy"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// ruleset is one set of rules, ready to decide. It never changes.
//
// The operators (not, and, or, parentheses) are parsed and evaluated by goslo.policy. The checks between them are
// compiled here, since the library's own differ from oslo.policy's; the library knows each as "check:NUMBER".
type ruleset struct {
	engine *goslo.Enforcer
	rules  map[string]*rule
	checks []check
}

// rule is what the rules of one name and their neighbours need to know of it.
type rule struct {
	scopes scope
	refs   []string // rules that it refers to, as they are resolved
	cost   int      // checks that a decision can take
}

// question is what one decision is about.
type question struct {
	caller *auth.Caller
	target Target
	rules  *ruleset
	rule   string // as it was asked for
	engine goslo.Context
}

func (r *ruleset) allowed(c *auth.Caller, name string, t Target) bool {
	asked, ok := r.rules[name]
	if !ok || !asked.scopes.fit(c) {
		return false
	}
	q := &question{caller: c, target: t, rules: r, rule: name}
	q.engine.LookupRequestValue = q.lookup
	return r.engine.Enforce(name, q.engine)
}

// resolve returns the name under which a rule that another one refers to is decided: its own, or "default" when there is
// no such rule.
func (r *ruleset) resolve(name string) (string, bool) {
	if _, ok := r.rules[name]; ok {
		return name, true
	}
	_, ok := r.rules[defaultRule]
	return defaultRule, ok
}

// ask decides another rule about the same caller and target.
func (q *question) ask(resolved string) bool { return q.rules.engine.Enforce(resolved, q.engine) }

// lookup decides the check with a number. The library hands requests to checks as text: "1" is true, nothing is false.
func (q *question) lookup(number string) string {
	if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < len(q.rules.checks) && q.rules.checks[n](q) {
		return "1"
	}
	return ""
}

// numbered is the library's check "check:NUMBER".
func numbered(c goslo.Context, _, number string) bool { return c.LookupRequestValue(number) != "" }

// attribute returns an attribute of the target.
func (q *question) attribute(name string) (string, bool) {
	if q.target == nil {
		return "", false
	}
	return q.target.Attribute(name)
}
