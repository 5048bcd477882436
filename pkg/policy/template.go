package policy

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// template is the right side of a check: texts with attributes of the target between them.
type template []part

// part is a fixed text, or an attribute's name.
type part struct {
	text      string
	attribute bool
}

// parseTemplate reads "text %(name)s text"; "%%" stands for a percent sign.
func parseTemplate(s string) (template, error) {
	if s == "" {
		return nil, errors.New("the right side is missing")
	}
	// Python substitutes only in texts with a "%(", and leaves others as they are.
	if !strings.Contains(s, "%") {
		return template{{text: s}}, nil
	}
	var t template
	var text strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, "%")
		text.WriteString(before)
		if !found {
			break
		}
		if rest, ok := strings.CutPrefix(after, "%"); ok {
			text.WriteByte('%')
			s = rest
			continue
		}
		name, rest, ok := strings.Cut(strings.TrimPrefix(after, "("), ")s")
		if !ok || !strings.HasPrefix(after, "(") || name == "" {
			return nil, errors.New("\"%\" stands only in \"%(name)s\" and \"%%\"")
		}
		if text.Len() > 0 {
			t = append(t, part{text: text.String()})
			text.Reset()
		}
		t = append(t, part{text: name, attribute: true})
		s = rest
	}
	if text.Len() > 0 {
		t = append(t, part{text: text.String()})
	}
	return t, nil
}

// has reports whether a fixed text holds one of the characters.
func (t template) has(chars string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return !p.attribute && strings.ContainsAny(p.text, chars) })
}

// fixed returns the text of a template without attributes.
func (t template) fixed() (string, bool) {
	if len(t) == 1 && !t[0].attribute {
		return t[0].text, true
	}
	return "", false
}

// fill returns the text with the target's attributes in it; ok is false when the target lacks one.
func (t template) fill(q *question) (string, bool) {
	if len(t) == 1 {
		if t[0].attribute {
			return q.attribute(t[0].text)
		}
		return t[0].text, true
	}
	var b strings.Builder
	for _, p := range t {
		text := p.text
		if p.attribute {
			var ok bool
			if text, ok = q.attribute(p.text); !ok {
				return "", false
			}
		}
		b.WriteString(text)
	}
	return b.String(), true
}

// fillEscaped is fill for a URL: what comes from the target cannot end a path element.
func (t template) fillEscaped(q *question) (string, bool) {
	var b strings.Builder
	for _, p := range t {
		text := p.text
		if p.attribute {
			value, ok := q.attribute(p.text)
			if !ok || value == "." || value == ".." {
				return "", false
			}
			text = url.PathEscape(value)
		}
		b.WriteString(text)
	}
	return b.String(), true
}
