package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	goslo "github.com/databus23/goslo.policy"
	"github.com/hashicorp/go-hclog"
)

// Bounds on what operators may write.
const (
	maxRules = 10_000
	maxText  = 64 << 10 // bytes of one rule
	maxDepth = 100      // parentheses in each other
	maxCost  = 10_000   // checks in one decision, with those of all rules it refers to
)

// compiler turns texts into a ruleset.
type compiler struct {
	set   *ruleset
	asker *asker
	log   hclog.Logger
	texts map[string]string // what the library gets
	rule  string            // being compiled
	refs  []string
	cost  int
}

// compile returns the default rules with an operator's own over them. Values are texts or lists of lists of checks. A
// rule whose text is wrong is logged and denies; rules that refer to each other in a circle are an error.
func compile(own map[string]any, a *asker, log hclog.Logger) (*ruleset, error) {
	if len(own) > maxRules {
		return nil, fmt.Errorf("more than %d rules", maxRules)
	}
	all := make(map[string]any, len(own)+len(defaults))
	scopes := make(map[string]scope, len(defaults))
	for _, d := range defaults {
		all[d.name], scopes[d.name] = d.text, d.scopes
	}
	maps.Copy(all, own)

	c := &compiler{set: &ruleset{rules: make(map[string]*rule, len(all))}, asker: a, log: log, texts: make(map[string]string, len(all))}
	for name := range all {
		c.set.rules[name] = &rule{scopes: scopes[name]}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c.add(name, all[name])
	}
	warnUnused(own, c.set, log)
	if err := c.set.measure(); err != nil {
		return nil, err
	}
	engine, err := goslo.NewEnforcer(c.texts)
	if err != nil {
		return nil, fmt.Errorf("policy rules: %w", err)
	}
	engine.AddCheck("check", numbered)
	c.set.engine = engine
	return c.set, nil
}

// add compiles one rule; one with a mistake denies.
func (c *compiler) add(name string, value any) {
	c.rule, c.refs, c.cost = name, nil, 0
	text, err := c.value(value)
	if err != nil {
		c.log.Error("a policy rule has a mistake and denies everybody", "rule", name, "problem", err)
		text, c.refs, c.cost = "!", nil, 0
	}
	r := c.set.rules[name]
	r.refs, r.cost = c.refs, max(c.cost, 1)
	c.texts[name] = text
}

// value compiles what a rule's value may be: a text, or a list whose elements are checks or lists of checks; a list is
// fulfilled when all checks of one of its elements are.
func (c *compiler) value(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return c.expression(v)
	case []any:
		return c.anyOf(v)
	default:
		return "", fmt.Errorf("a rule is a text or a list, not %T", value)
	}
}

func (c *compiler) anyOf(list []any) (string, error) {
	if len(list) == 0 {
		return "@", nil
	}
	var or []string
	for _, element := range list {
		checks, ok := element.([]any)
		if !ok {
			checks = []any{element}
		}
		var and []string
		for _, item := range checks {
			text, ok := item.(string)
			if !ok {
				return "", fmt.Errorf("a check is a text, not %T", item)
			}
			check, err := c.check(strings.TrimSpace(text))
			if err != nil {
				return "", err
			}
			and = append(and, check)
		}
		if len(and) > 0 {
			or = append(or, "("+strings.Join(and, " and ")+")")
		}
	}
	if len(or) == 0 {
		return "!", nil
	}
	return strings.Join(or, " or "), nil
}

// check compiles one check and returns its text for the library.
func (c *compiler) check(text string) (string, error) {
	c.cost++
	switch text {
	case "@", "!":
		return text, nil
	}
	f, err := c.compileCheck(text)
	if err != nil {
		return "", err
	}
	c.set.checks = append(c.set.checks, f)
	return "check:" + strconv.Itoa(len(c.set.checks)-1), nil
}

// reference notes that the rule being compiled needs another one, and returns the name under which that is decided.
func (c *compiler) reference(name string) (string, bool) {
	resolved, ok := c.set.resolve(name)
	if !ok || (resolved != name && c.rule == defaultRule) {
		c.log.Warn("a policy rule refers to a rule that does not exist", "rule", c.rule, "refers_to", name)
		return "", false
	}
	if resolved != name {
		c.log.Warn("a policy rule refers to a rule that does not exist; the rule \"default\" decides", "rule", c.rule, "refers_to", name)
	}
	c.refs = append(c.refs, resolved)
	return resolved, true
}

// warnUnused tells about rules of a file that decide nothing: most often their names are misspelt.
func warnUnused(own map[string]any, set *ruleset, log hclog.Logger) {
	used := make(map[string]bool, len(defaults))
	for _, d := range defaults {
		used[d.name] = true
	}
	for _, r := range set.rules {
		for _, ref := range r.refs {
			used[ref] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if !used[name] {
			log.Warn("a policy rule is not one of ours and no other rule refers to it", "rule", name)
		}
	}
}
