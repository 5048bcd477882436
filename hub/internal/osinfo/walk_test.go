package osinfo

import (
	"errors"
	"strings"
	"testing"
)

// memory is a file system in memory: the parts of tree, with inodes numbered by their place in nodes.
type memory struct {
	nodes []*node
}

type node struct {
	kind    kind
	text    string
	entries map[string]uint64
}

func newMemory(r tree) *memory {
	m := &memory{nodes: []*node{{kind: directory, entries: map[string]uint64{}}}}
	for path, text := range r {
		path, link := strings.CutSuffix(path, "@")
		at := m.nodes[0]
		parts := strings.Split(path, "/")
		for i, name := range parts {
			next, ok := at.entries[name]
			if !ok {
				next = uint64(len(m.nodes))
				n := &node{kind: directory, entries: map[string]uint64{}}
				switch {
				case i == len(parts)-1 && link:
					n = &node{kind: symlink, text: text}
				case i == len(parts)-1:
					n = &node{kind: regular, text: text}
				}
				m.nodes, at.entries[name] = append(m.nodes, n), next
			}
			at = m.nodes[next]
		}
	}
	return m
}

func (m *memory) root() uint64 { return 0 }

func (m *memory) inode(ino uint64) (*file, error) {
	n := m.nodes[ino]
	return &file{kind: n.kind, ino: ino, size: int64(len(n.text))}, nil
}

func (m *memory) lookup(dir *file, name string) (uint64, error) {
	if ino, ok := m.nodes[dir.ino].entries[name]; ok {
		return ino, nil
	}
	return 0, errNotFound
}

func (m *memory) data(f *file) ([]byte, error) { return []byte(m.nodes[f.ino].text), nil }

func TestWalk(t *testing.T) {
	const rel = "usr/lib/os-release"
	dots := strings.Repeat("./", 40)
	tests := map[string]struct {
		tree tree
		want error
	}{
		"a file":                      {tree{"etc/os-release": debian}, nil},
		"relative link":               {tree{"etc/os-release@": "../usr/lib/os-release", rel: debian}, nil},
		"absolute link":               {tree{"etc/os-release@": "/usr/lib/os-release", rel: debian}, nil},
		"link to a link":              {tree{"etc/os-release@": "/a", "a@": "b", "b@": rel, rel: debian}, nil},
		"linked directory":            {tree{"etc@": "real/etc", "real/etc/os-release@": "../../usr/lib/os-release", rel: debian}, nil},
		"dots of a linked directory":  {tree{"etc@": "a/b/etc", "a/b/etc/os-release@": "../os-release", "a/b/os-release": debian}, nil},
		"slashes and dots":            {tree{"etc/os-release@": ".././//usr/./lib/os-release", rel: debian}, nil},
		"above the root":              {tree{"etc/os-release@": "../../../../usr/lib/os-release", rel: debian}, nil},
		"eight links":                 {chain(8), nil},
		"nine links":                  {chain(9), errUnsure},
		"link to itself":              {tree{"etc/os-release@": "os-release"}, errUnsure},
		"two links in a circle":       {tree{"etc/os-release@": "other", "etc/other@": "os-release"}, errUnsure},
		"circle of directories":       {tree{"etc@": "etc/etc"}, errUnsure},
		"link to nothing":             {tree{"etc/os-release@": "../run/os-release"}, errNotFound},
		"link to a directory":         {tree{"etc/os-release@": "..", rel: debian}, errNotFound},
		"link through a file":         {tree{"etc/os-release@": "file/../../usr/lib/os-release", "etc/file": "x", rel: debian}, errNotFound},
		"slash behind a file":         {tree{"etc/os-release@": "file/", "etc/file": "x"}, errNotFound},
		"a directory":                 {tree{"etc/os-release/x": "x"}, errNotFound},
		"nothing":                     {tree{"etc/hostname": "x"}, errNotFound},
		"etc is a file":               {tree{"etc": "x"}, errNotFound},
		"empty link":                  {tree{"etc/os-release@": ""}, errUnsure},
		"link with too long a target": {tree{"etc/os-release@": strings.Repeat("x", 4096)}, errUnsure},
		"link with too many parts":    {tree{"etc/os-release@": strings.Repeat("./", 65) + "x"}, errUnsure},
		"too many parts together":     {tree{"etc/os-release@": dots + "a", "etc/a@": dots + "b", "etc/b": "x"}, errUnsure},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory(tt.tree)
			f, err := walk(m, files[0])
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil && m.nodes[f.ino].text != debian {
				t.Errorf("found %q", m.nodes[f.ino].text)
			}
		})
	}
}

// chain leads to a file through n links.
func chain(n int) tree {
	r := tree{"etc/end": debian}
	for name := "os-release"; n > 0; n-- {
		next := strings.Repeat("n", n)
		if n == 1 {
			next = "end"
		}
		r["etc/"+name+"@"] = next
		name = next
	}
	return r
}
