// Package arch_test holds the layer law of Atoll: which package may import which. Each failure prints the rule, the
// edge that breaks it and the reason. The rules are in rules_test.go; docs/architecture.md says what they are for.
package arch_test

import (
	"slices"
	"testing"
)

// Tests import what they like; the rules are about what ends up in programs, so only ordinary imports count.

func TestEdges(t *testing.T) {
	g := load(t, true)
	for _, rule := range edgeRules {
		g.mustExist(t, rule.id, rule.target)
		for _, from := range rule.allowed {
			g.mustExist(t, rule.id, from)
		}
		for _, p := range g {
			from, ok := p.ours()
			if !ok || matches(rule.target, p.ImportPath) || matchesAny(rule.allowed, p.ImportPath) {
				continue
			}
			for _, to := range p.Imports {
				if matches(rule.target, to) {
					t.Errorf("rule %s: %s must not import %s: %s", rule.id, from, to, rule.reason)
				}
			}
		}
	}
}

func TestTrees(t *testing.T) {
	for _, cgo := range []bool{false, true} {
		g := load(t, cgo)
		for _, rule := range treeRules {
			g.mustExist(t, rule.id, rule.from)
			g.mustExist(t, rule.id, rule.to)
			for _, p := range g {
				if !matches(rule.from, p.ImportPath) {
					continue
				}
				for _, to := range p.Imports {
					if matches(rule.to, to) {
						t.Errorf("rule %s: %s must not import %s: %s", rule.id, p.ImportPath, to, rule.reason)
					}
				}
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	g := load(t, true)
	for _, name := range purePackages {
		g.mustExist(t, "pure", name)
		p := g[full(name)]
		if p == nil {
			continue
		}
		for _, to := range p.Imports {
			if q := g[to]; q != nil && !q.Standard && !matchesAny(purePackages, to) {
				t.Errorf("rule pure: %s must not import %s: identities, manifests and error classes depend on nothing", name, to)
			}
		}
	}
}

func TestClosures(t *testing.T) {
	graphs := map[bool]graph{false: load(t, false), true: load(t, true)}
	for _, rule := range closureRules {
		g := graphs[rule.cgo]
		g.mustExist(t, rule.id, rule.program)
		p := g[full(rule.program)]
		if p == nil {
			continue
		}
		for _, pattern := range rule.forbidden {
			if slices.ContainsFunc(p.Deps, func(dep string) bool { return matches(pattern, dep) }) {
				t.Errorf("rule %s: %s contains %s: %s", rule.id, rule.program, g.chain(p.ImportPath, pattern), rule.reason)
			}
		}
	}
}

func TestCgoIsInOnePackage(t *testing.T) {
	g := load(t, true)
	g.mustExist(t, "cgo-once", cgoPackage)
	for _, p := range g {
		if from, ok := p.ours(); ok && len(p.CgoFiles) > 0 && from != cgoPackage {
			t.Errorf(`rule cgo-once: %s imports "C": only %s may`, from, cgoPackage)
		}
	}
}
