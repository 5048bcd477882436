// Package policy decides what a caller may do: rules in oslo.policy syntax with the Image API's defaults, and protections
// of single properties. It decides from the caller and the attributes of a target alone and knows no wire format.
package policy

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// Target has the attributes of what a rule is about. Values are as Python prints them: "True", "False", decimal numbers.
// An attribute that is null or empty is reported as absent, so that no rule compares nothing with nothing.
type Target interface {
	// Attribute returns a value by its name in the Image API, such as "visibility", an extra property's name, or one of
	// the aliases "project_id" (the owner) and "member_id"; ok is false when there is none. It must not block.
	Attribute(name string) (value string, ok bool)
}

// Map is a Target. Empty values count as absent.
type Map map[string]string

// Attribute returns the value of a key.
func (m Map) Attribute(name string) (string, bool) {
	v := m[name]
	return v, v != ""
}

// Options say where rules come from. The zero value stands for the default rules without protected properties.
type Options struct {
	// File is a policy file (YAML or JSON) whose rules replace defaults of the same name; empty: none. It must exist.
	File string
	// Dir is a directory whose *.yaml, *.yml and *.json files are merged over File in the order of their names; empty: none.
	Dir string
	// ProtectionFile protects properties; empty: no property is protected. It is read once.
	ProtectionFile string
	// ProtectionFormat says what the values in ProtectionFile are: "roles" (also when empty) or "policies".
	ProtectionFormat string
	// HTTP sends the checks "http://..." and "https://..."; nil: a rule with such a check always denies. Each check takes
	// at most HTTPTimeout (zero: 2 s), and at most 16 run at a time.
	HTTP        *http.Client
	HTTPTimeout time.Duration
	// Log is told about mistakes in files; nil: nobody is.
	Log hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Enforcer decides by the rules in force. Its methods may be called at the same time. It needs no closing: files are
// looked at again, at most once a second, by those who ask.
type Enforcer struct {
	rules    atomic.Pointer[ruleset]
	sections []section // of the protection file
	source   *source   // nil without files
	asker    *asker    // nil unless http checks are allowed
	log      hclog.Logger
	now      func() time.Time
}

// New reads the files that the options name. An error says which file is wrong and why: a file that is missing or not
// readable as rules, rules that refer to each other in a circle, a protection file with a mistake in it. A rule whose
// text is wrong is not an error: it is logged and denies.
func New(o Options) (*Enforcer, error) {
	e := &Enforcer{log: o.Log, now: o.Now}
	if e.log == nil {
		e.log = hclog.NewNullLogger()
	}
	if e.now == nil {
		e.now = time.Now
	}
	if o.HTTP != nil {
		e.asker = newAsker(o.HTTP, o.HTTPTimeout, e.log)
	}
	var own map[string]any
	if o.File != "" || o.Dir != "" {
		e.source = &source{file: o.File, dir: o.Dir}
		var err error
		if own, err = e.source.open(e.now()); err != nil {
			return nil, err
		}
	}
	rules, err := compile(own, e.asker, e.log)
	if err != nil {
		return nil, err
	}
	e.rules.Store(rules)
	if o.ProtectionFile != "" {
		if e.sections, err = readProtections(o.ProtectionFile, o.ProtectionFormat, rules, e.log); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Allowed reports whether the caller may do what the rule stands for to the target, which may be nil. A nil caller may do
// nothing, and a rule that does not exist allows nothing: the rule "default" decides only for rules that others refer to.
// It blocks only on http checks.
func (e *Enforcer) Allowed(c *auth.Caller, rule string, t Target) bool {
	return c != nil && e.current().allowed(c, rule, t)
}

// current returns the rules in force, read again if their files have changed.
func (e *Enforcer) current() *ruleset {
	if e.source == nil {
		return e.rules.Load()
	}
	own, changed, err := e.source.poll(e.now())
	if !changed {
		return e.rules.Load()
	}
	var rules *ruleset
	if err == nil {
		rules, err = compile(own, e.asker, e.log)
	}
	if err != nil {
		e.log.Error("the policy files have a mistake; the rules stay as they were", "error", err)
		return e.rules.Load()
	}
	e.rules.Store(rules)
	e.log.Info("policy files read again", "rules", len(own))
	return rules
}
