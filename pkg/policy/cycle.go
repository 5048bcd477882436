package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// measure adds to each rule's cost that of the rules it refers to. It fails when rules refer to each other in a circle,
// or when one decision would take too many checks.
func (r *ruleset) measure() error {
	done := make(map[string]bool, len(r.rules))
	for _, name := range slices.Sorted(maps.Keys(r.rules)) {
		if err := r.visit(name, nil, done); err != nil {
			return err
		}
	}
	return nil
}

func (r *ruleset) visit(name string, path []string, done map[string]bool) error {
	if i := slices.Index(path, name); i >= 0 {
		return fmt.Errorf("policy rules refer to each other in a circle: %s", strings.Join(append(path[i:], name), " -> "))
	}
	if done[name] {
		return nil
	}
	at := r.rules[name]
	path = append(path, name)
	for _, ref := range at.refs {
		if err := r.visit(ref, path, done); err != nil {
			return err
		}
		at.cost += r.rules[ref].cost
	}
	if at.cost > maxCost {
		return fmt.Errorf("policy rule %q takes more than %d checks with the rules it refers to", name, maxCost)
	}
	done[name] = true
	return nil
}
