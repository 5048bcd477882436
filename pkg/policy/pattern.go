package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Classes that in Python know all of Unicode and in Go only ASCII.
var unicodeClasses = map[byte]string{'d': `\p{Nd}`, 'w': `\p{L}\p{N}_`, 's': `\s\v\p{Z}`}

// compilePython compiles a regular expression in Python's syntax, to be searched for anywhere in a text. What Go's
// matching in linear time cannot do (look around, references back) is an error, as is what means something else there.
func compilePython(s string) (*regexp.Regexp, error) {
	text, err := translate(s)
	if err != nil {
		return nil, fmt.Errorf("the pattern is not supported: %w", err)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("the pattern is not supported: %w", err)
	}
	return re, nil
}

// translate rewrites what the two syntaxes write differently.
func translate(s string) (string, error) {
	var b strings.Builder
	class := false // inside of [...]
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			if i++; i == len(s) {
				return "", errors.New("it ends in a backslash")
			}
			text, err := translateEscape(s[i], class)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			continue
		case class && s[i] == '[' && strings.HasPrefix(s[i:], "[:"):
			return "", errors.New("named classes as in \"[[:alpha:]]\"")
		case class && s[i] == ']':
			class = false
		case !class && s[i] == '[':
			class = true
			b.WriteByte('[')
			rest := s[i+1:]
			if strings.HasPrefix(rest, "^") {
				b.WriteByte('^')
				rest, i = rest[1:], i+1
			}
			if strings.HasPrefix(rest, "]") { // a first "]" is itself
				b.WriteString(`\]`)
				i++
			}
			continue
		case !class && strings.HasPrefix(s[i:], "{,"):
			return "", errors.New("a repetition without a lower bound; write {0,n}")
		}
		b.WriteByte(s[i])
	}
	return b.String(), nil
}

func translateEscape(c byte, class bool) (string, error) {
	if set, ok := unicodeClasses[c]; ok {
		if class {
			return set, nil
		}
		return "[" + set + "]", nil
	}
	if set, ok := unicodeClasses[c|0x20]; ok && c >= 'A' && c <= 'Z' {
		if class {
			return "", fmt.Errorf("\\%c inside of a class", c)
		}
		return "[^" + set + "]", nil
	}
	switch c {
	case 'Z':
		return `\z`, nil
	case 'Q', 'E', 'C', 'p', 'P', 'z', 'b', 'B':
		return "", fmt.Errorf("\\%c", c)
	}
	if c >= utf8.RuneSelf {
		return string([]byte{c}), nil
	}
	return `\` + string(rune(c)), nil
}
