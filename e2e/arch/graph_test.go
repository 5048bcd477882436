package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pkg is what `go list` says about one package.
type pkg struct {
	ImportPath   string
	Name         string
	Dir          string
	Standard     bool
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	Deps         []string
}

// ours returns the path of a package of this module without the module's own path.
func (p *pkg) ours() (string, bool) {
	if p.ImportPath == module {
		return ".", true
	}
	return strings.CutPrefix(p.ImportPath, module+"/")
}

// graph is every package of this module and all they import, as built with or without cgo.
type graph map[string]*pkg

// load lists the packages. It fails the test when the tree does not list.
func load(t *testing.T, cgo bool) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-json=ImportPath,Name,Dir,Standard,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,Deps", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	g := graph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		err := dec.Decode(p)
		if errors.Is(err, io.EOF) {
			return g
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		g[p.ImportPath] = p
	}
}

// root returns the directory of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// full makes an import path of a pattern: those whose first part has no dot are ours.
func full(pattern string) string {
	if first, _, _ := strings.Cut(pattern, "/"); strings.Contains(first, ".") && first != "..." {
		return pattern
	}
	return module + "/" + pattern
}

// matches reports whether an import path fits a pattern, which may end in /... to mean a package and all below it.
func matches(pattern, path string) bool {
	pattern = full(pattern)
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	}
	return path == pattern
}

func matchesAny(patterns []string, path string) bool {
	for _, p := range patterns {
		if matches(p, path) {
			return true
		}
	}
	return false
}

// mustExist fails the test when a pattern fits no package: a rule about nothing protects nothing.
func (g graph) mustExist(t *testing.T, rule, pattern string) {
	t.Helper()
	for path := range g {
		if matches(pattern, path) {
			return
		}
	}
	t.Errorf("rule %s names %s, which does not exist: correct or delete the rule", rule, pattern)
}

// chain returns a shortest path of imports from a package to one that fits a pattern, for the message.
func (g graph) chain(from, pattern string) string {
	type step struct {
		path string
		prev *step
	}
	seen := map[string]bool{from: true}
	for queue := []*step{{path: from}}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if matches(pattern, s.path) {
			text := s.path
			for s = s.prev; s != nil; s = s.prev {
				text = s.path + " -> " + text
			}
			return text
		}
		if p := g[s.path]; p != nil {
			for _, next := range p.Imports {
				if !seen[next] {
					seen[next] = true
					queue = append(queue, &step{path: next, prev: s})
				}
			}
		}
	}
	return from
}
