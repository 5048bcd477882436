package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// check decides one condition of a rule.
type check func(q *question) bool

// compileCheck compiles "KIND:MATCH". KIND is "role", "rule", "http", "https", a literal, or a credential's name; MATCH may
// hold attributes of the target as "%(NAME)s". A check on an attribute that the target does not have is false.
func (c *compiler) compileCheck(text string) (check, error) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("%q is not a check of the form KIND:MATCH", text)
	}
	if kind == "rule" && rest != "" {
		return c.ruleCheck(rest), nil
	}
	match, err := parseTemplate(rest)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	switch kind {
	case "":
		return nil, fmt.Errorf("%q is not a check of the form KIND:MATCH", text)
	case "http", "https":
		return c.httpCheck(kind, match)
	}
	if match.has("()") {
		return nil, fmt.Errorf("%q: white space is missing beside a parenthesis", text)
	}
	if kind == "role" {
		return roleCheck(match), nil
	}
	if literal, ok, err := parseLiteral(kind); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	} else if ok {
		return literalCheck(literal, match), nil
	}
	if strings.ContainsAny(kind, " \t\r\n") {
		return nil, fmt.Errorf("%q is not one check", text)
	}
	return c.credentialCheck(kind, match), nil
}

func (c *compiler) ruleCheck(name string) check {
	resolved, ok := c.reference(name)
	if !ok {
		return func(*question) bool { return false }
	}
	return func(q *question) bool { return q.ask(resolved) }
}

// roleCheck compares without regard to case.
func roleCheck(match template) check {
	if fixed, ok := match.fixed(); ok {
		want := strings.ToLower(fixed)
		return func(q *question) bool { return q.caller.HasRole(want) }
	}
	return func(q *question) bool {
		want, ok := match.fill(q)
		return ok && q.caller.HasRole(strings.ToLower(want))
	}
}

// literalCheck compares a fixed text with an attribute.
func literalCheck(literal string, match template) check {
	return func(q *question) bool {
		want, ok := match.fill(q)
		return ok && want == literal
	}
}

// credentialCheck compares what the caller's token says. A credential that the caller does not have, or that nobody has,
// is equal to nothing.
func (c *compiler) credentialCheck(name string, match template) check {
	if name == "is_admin" {
		return c.adminCheck(match)
	}
	if list, ok := credentialLists[strings.TrimPrefix(name, "token.")]; ok {
		return func(q *question) bool {
			want, ok := match.fill(q)
			return ok && slices.Contains(list(q.caller), want)
		}
	}
	value, ok := credentials[strings.TrimPrefix(name, "token.")]
	if !ok {
		c.log.Warn("a policy rule looks at a credential that no token has", "rule", c.rule, "credential", name)
		return func(*question) bool { return false }
	}
	return func(q *question) bool {
		have := value(q.caller)
		if have == "" {
			return false
		}
		want, ok := match.fill(q)
		return ok && want == have
	}
}

// adminCheck is "is_admin:True": whether the rule "context_is_admin" holds.
func (c *compiler) adminCheck(match template) check {
	resolved, ok := c.reference(adminRule)
	if !ok {
		return func(*question) bool { return false }
	}
	return func(q *question) bool {
		want, ok := match.fill(q)
		return ok && want == pythonBool(q.ask(resolved))
	}
}

// parseLiteral returns the text of a literal on the left side: quoted text, a number, True, False or None.
func parseLiteral(s string) (string, bool, error) {
	switch s {
	case "True", "False", "None":
		return s, true, nil
	}
	if s[0] == '\'' || s[0] == '"' {
		if len(s) < 2 || s[len(s)-1] != s[0] || strings.ContainsAny(s[1:len(s)-1], `\`+s[:1]) {
			return "", false, errors.New("a quoted text does not end where it should")
		}
		return s[1 : len(s)-1], true, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(n, 10), true, nil
	}
	if s[0] >= '0' && s[0] <= '9' || s[0] == '-' || s[0] == '%' || s[0] == '[' || s[0] == '{' {
		return "", false, errors.New("the left side is neither a credential nor a literal")
	}
	return "", false, nil
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
