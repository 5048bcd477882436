package policy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	pollEvery   = time.Second // how often changes of the files are looked for
	maxFile     = 1 << 20     // bytes
	maxDirFiles = 256
)

// source is where an operator's rules are.
type source struct {
	file, dir string

	next    atomic.Int64 // Unix nanoseconds before which nobody looks
	mu      sync.Mutex
	seen    string // what the files looked like when they were last read, well or not
	pending string // what they looked like at the last look
}

// open reads the rules for the first time.
func (s *source) open(now time.Time) (map[string]any, error) {
	s.next.Store(now.Add(pollEvery).UnixNano())
	names, seen, err := s.list()
	if err != nil {
		return nil, err
	}
	s.seen = seen
	return readAll(names)
}

// poll reads the rules again if the files have changed and then stayed as they are for a second: one that is being
// written must not be taken for an empty one. Only one caller at a time looks, once a second; the others go on with what
// there is. An error is reported once for each change.
func (s *source) poll(now time.Time) (own map[string]any, changed bool, err error) {
	next := s.next.Load()
	if now.UnixNano() < next || !s.next.CompareAndSwap(next, now.Add(pollEvery).UnixNano()) {
		return nil, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	names, seen, err := s.list()
	if err != nil {
		seen = err.Error()
	}
	settled := seen == s.pending
	s.pending = seen
	if seen == s.seen || !settled {
		return nil, false, nil
	}
	if err == nil {
		own, err = readAll(names)
	}
	if _, after, e := s.list(); e == nil && after != seen {
		s.pending = after
		return nil, false, nil
	}
	s.seen = seen
	return own, true, err
}

// list returns the files in the order in which they are merged, and a text that changes when one of them does.
func (s *source) list() (names []string, seen string, err error) {
	if s.file != "" {
		names = append(names, s.file)
	}
	if s.dir != "" {
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			return nil, "", fmt.Errorf("policy directory: %w", err)
		}
		for _, entry := range entries {
			if isRuleFile(entry.Name()) {
				names = append(names, filepath.Join(s.dir, entry.Name()))
			}
		}
		if len(names) > maxDirFiles {
			return nil, "", fmt.Errorf("policy directory %s: more than %d files", s.dir, maxDirFiles)
		}
	}
	var b strings.Builder
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, "", fmt.Errorf("policy file: %w", err)
		}
		fmt.Fprintf(&b, "%s %d %d\n", name, info.ModTime().UnixNano(), info.Size())
	}
	return names, b.String(), nil
}

func isRuleFile(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readAll merges the rules of files; later ones win.
func readAll(names []string) (map[string]any, error) {
	all := make(map[string]any)
	for _, name := range names {
		own, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("policy file %s: %w", name, err)
		}
		maps.Copy(all, own)
	}
	return all, nil
}

func readFile(name string) (map[string]any, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	var own map[string]any
	if err := yaml.UnmarshalStrict(text, &own); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error unmarshaling JSON: while decoding JSON: "))
	}
	return own, nil
}
