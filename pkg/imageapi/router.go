package imageapi

import (
	"net/http"
	"slices"
	"strings"
)

// Handler answers one request. A returned error becomes the answer, so a handler returns it before it writes anything.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Router finds the handler of a request by its method and path. Make it ready before it serves; then it never changes.
type Router struct{ root node }

// node is one place in the tree of paths.
type node struct {
	literal map[string]*node
	value   *node  // any segment
	name    string // of that segment
	pattern string // as given to Handle; empty where no path ends
	methods []string
	handler map[string]Handler
}

// NewRouter returns a router without routes.
func NewRouter() *Router { return &Router{} }

// Handle adds a route. In pattern, such as "/v2/images/{id}", a segment in braces stands for any text that is not empty,
// which handlers get unescaped from r.PathValue. Literal segments win over it. A route that is there already is a mistake
// of the program: Handle panics.
func (rt *Router) Handle(method, pattern string, h Handler) {
	n := &rt.root
	for segment := range strings.SplitSeq(strings.TrimPrefix(pattern, "/"), "/") {
		n = n.child(segment)
	}
	if n.handler == nil {
		n.pattern, n.handler = pattern, map[string]Handler{}
	}
	if n.handler[method] != nil {
		panic("imageapi: two handlers for " + method + " " + pattern)
	}
	n.handler[method] = h
	n.methods = append(n.methods, method)
	slices.Sort(n.methods)
}

func (n *node) child(segment string) *node {
	if name, ok := strings.CutPrefix(segment, "{"); ok {
		name = strings.TrimSuffix(name, "}")
		if n.value == nil {
			n.value, n.name = &node{}, name
		}
		if n.name != name {
			panic("imageapi: one segment called " + n.name + " and " + name)
		}
		return n.value
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &node{}
	}
	return n.literal[segment]
}

// value is one named segment of a path.
type value struct{ name, text string }

// find returns the node of a path given in unescaped segments, nil when there is none, and appends the values of its
// named segments to values.
func (n *node) find(segments []string, values []value) (*node, []value) {
	if len(segments) == 0 {
		if n.handler == nil {
			return nil, nil
		}
		return n, values
	}
	if next := n.literal[segments[0]]; next != nil {
		if found, v := next.find(segments[1:], values); found != nil {
			return found, v
		}
	}
	if n.value == nil || segments[0] == "" {
		return nil, nil
	}
	return n.value.find(segments[1:], append(values, value{n.name, segments[0]}))
}
