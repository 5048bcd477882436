package policy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// iniSection is a section of a file in the format of Python's configparser, with its header as it stands there.
type iniSection struct {
	name   string
	values map[string]string // by key in lower case
}

// readINI reads a file of sections. Sections keep their order; a section or key that is there twice is an error. Comments
// start with "#" or ";" at the start of a line, and a value goes on in lines that are indented.
func readINI(name string) ([]iniSection, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	r := &iniReader{seen: make(map[string]bool)}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if err := r.line(strings.TrimRight(line, " \t\r\n")); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return r.sections, nil
}

type iniReader struct {
	sections []iniSection
	seen     map[string]bool
	key      string // that a line may continue
}

func (r *iniReader) line(line string) error {
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		return nil
	case line[0] == ' ' || line[0] == '\t':
		if r.key == "" {
			return errors.New("an indented line that continues nothing")
		}
		r.sections[len(r.sections)-1].values[r.key] += "\n" + trimmed
		return nil
	case line[0] == '[':
		return r.header(line)
	}
	return r.value(line)
}

func (r *iniReader) header(line string) error {
	end := strings.LastIndexByte(line, ']')
	if end < 2 {
		return errors.New("a section is \"[pattern]\"")
	}
	name := line[1:end]
	switch {
	case name == "DEFAULT":
		return errors.New("a section [DEFAULT] is not supported")
	case r.seen[name]:
		return fmt.Errorf("the section [%s] is there twice", name)
	}
	r.seen[name], r.key = true, ""
	r.sections = append(r.sections, iniSection{name: name, values: make(map[string]string)})
	return nil
}

func (r *iniReader) value(line string) error {
	i := strings.IndexAny(line, "=:")
	if i <= 0 {
		return errors.New("neither a section nor \"key = value\"")
	}
	if len(r.sections) == 0 {
		return errors.New("a value before the first section")
	}
	key := strings.ToLower(strings.TrimSpace(line[:i]))
	values := r.sections[len(r.sections)-1].values
	if _, ok := values[key]; ok {
		return fmt.Errorf("%q is there twice", key)
	}
	r.key, values[key] = key, strings.TrimSpace(line[i+1:])
	return nil
}
