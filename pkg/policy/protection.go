package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// Operation is something done to an extra property of an image.
type Operation string

// The operations on properties.
const (
	Create Operation = "create"
	Read   Operation = "read"
	Update Operation = "update"
	Delete Operation = "delete"
)

var operations = [...]Operation{Create, Read, Update, Delete}

// section protects the properties whose names its pattern matches anywhere.
type section struct {
	pattern *regexp.Regexp
	grants  map[Operation]grant
}

// grant says who may do one operation.
type grant struct {
	anyone bool
	roles  []string // lower case
	rule   string   // of the policies
}

// Protected reports whether properties are protected. Without protections every caller sees the same properties.
func (e *Enforcer) Protected() bool { return len(e.sections) > 0 }

// Property reports whether the caller may do op to an extra property. The first section whose pattern matches decides,
// and a property that no section matches is refused. Without a protection file everything is allowed.
func (e *Enforcer) Property(c *auth.Caller, name string, op Operation) bool {
	if !e.Protected() {
		return true
	}
	if c == nil {
		return false
	}
	for i := range e.sections {
		if e.sections[i].pattern.MatchString(name) {
			return e.granted(c, e.sections[i].grants[op], name)
		}
	}
	return false
}

func (e *Enforcer) granted(c *auth.Caller, g grant, name string) bool {
	if g.anyone {
		return true
	}
	if g.rule != "" {
		return e.Allowed(c, g.rule, Map{"property": name})
	}
	return slices.ContainsFunc(g.roles, func(role string) bool {
		return c.HasRole(role) || slices.Contains(c.ServiceRoles, role)
	})
}

// readProtections reads a protection file. Unlike policy files a mistake in it is always an error.
func readProtections(name, format string, rules *ruleset, log hclog.Logger) ([]section, error) {
	sections, err := parseProtections(name, format, rules, log)
	if err != nil {
		return nil, fmt.Errorf("property protection file %s: %w", name, err)
	}
	return sections, nil
}

func parseProtections(name, format string, rules *ruleset, log hclog.Logger) ([]section, error) {
	var parse func(string) (grant, error)
	switch format {
	case "", "roles":
		parse = parseRoles
	case "policies":
		parse = func(value string) (grant, error) { return parsePolicy(value, rules) }
	default:
		return nil, fmt.Errorf("the format is \"roles\" or \"policies\", not %q", format)
	}
	found, err := readINI(name)
	if err != nil {
		return nil, err
	}
	// What the service itself keeps in properties is nobody's to protect.
	anyone := grant{anyone: true}
	sections := []section{{
		pattern: regexp.MustCompile(`^os_glance.*`),
		grants:  map[Operation]grant{Create: anyone, Read: anyone, Update: anyone, Delete: anyone},
	}}
	for _, s := range found {
		if strings.HasPrefix(s.name, "os_glance") {
			log.Warn("a property protection for os_glance properties is not used", "section", s.name)
			continue
		}
		protected, err := parseSection(s, parse, log)
		if err != nil {
			return nil, fmt.Errorf("section [%s]: %w", s.name, err)
		}
		sections = append(sections, protected)
	}
	return sections, nil
}

func parseSection(s iniSection, parse func(string) (grant, error), log hclog.Logger) (section, error) {
	pattern, err := compilePython(s.name)
	if err != nil {
		return section{}, err
	}
	grants := make(map[Operation]grant, len(operations))
	for _, op := range operations {
		value, ok := s.values[string(op)]
		if !ok {
			return section{}, fmt.Errorf("%q is missing; create, read, update and delete must all be there", op)
		}
		g, err := parse(value)
		if err != nil {
			return section{}, fmt.Errorf("%s: %w", op, err)
		}
		if value == "" {
			log.Warn("a property protection without a value lets nobody in", "section", s.name, "operation", string(op))
		}
		grants[op] = g
	}
	return section{pattern: pattern, grants: grants}, nil
}

// parseRoles reads a list of roles separated by commas; "@" is everybody, "!" and nothing are nobody.
func parseRoles(value string) (grant, error) {
	var g grant
	nobody := false
	for role := range strings.SplitSeq(value, ",") {
		switch role = strings.ToLower(strings.TrimSpace(role)); role {
		case "":
		case "@":
			g.anyone = true
		case "!":
			nobody = true
		default:
			g.roles = append(g.roles, role)
		}
	}
	if g.anyone && nobody {
		return grant{}, errors.New("\"@\" and \"!\" exclude each other")
	}
	if nobody {
		g.roles = nil
	}
	return g, nil
}

// parsePolicy reads the name of one rule, "@" or "!".
func parsePolicy(value string, rules *ruleset) (grant, error) {
	switch {
	case value == "@":
		return grant{anyone: true}, nil
	case value == "!" || value == "":
		return grant{}, nil
	case strings.Contains(value, ","):
		return grant{}, errors.New("one policy rule is allowed, not a list")
	}
	if _, ok := rules.rules[value]; !ok {
		return grant{}, fmt.Errorf("there is no policy rule %q", value)
	}
	return grant{rule: value}, nil
}
