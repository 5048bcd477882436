package policy

import (
	"errors"
	"fmt"
	"strings"
)

// expression compiles a rule's text. Words are separated by white space, and parentheses may stick to either side of a
// word; "not" binds tighter than "and", "and" tighter than "or". The empty text always allows.
//
// The order of words is checked here, so that the library never sees a wrong text: it would leave a goroutine behind.
func (c *compiler) expression(text string) (string, error) {
	if len(text) > maxText {
		return "", fmt.Errorf("longer than %d bytes", maxText)
	}
	if strings.TrimSpace(text) == "" {
		return "@", nil
	}
	w := &writer{}
	for word := range strings.FieldsSeq(text) {
		inner := strings.TrimLeft(word, "(")
		for range len(word) - len(inner) {
			if err := w.open(); err != nil {
				return "", err
			}
		}
		bare := strings.TrimRight(inner, ")")
		if bare != "" {
			if err := c.word(w, bare); err != nil {
				return "", err
			}
		}
		for range len(inner) - len(bare) {
			if err := w.close(); err != nil {
				return "", err
			}
		}
	}
	return w.end()
}

// word adds an operator or a check.
func (c *compiler) word(w *writer, word string) error {
	switch strings.ToLower(word) {
	case "not":
		return w.not()
	case "and":
		return w.operator("and")
	case "or":
		return w.operator("or")
	}
	check, err := c.check(word)
	if err != nil {
		return err
	}
	return w.operand(check)
}

// writer writes an expression for the library and refuses words where they cannot stand.
type writer struct {
	b       strings.Builder
	depth   int
	operate bool // an operand is complete: an operator or ")" may follow
}

func (w *writer) put(word string) {
	w.b.WriteString(word)
	w.b.WriteByte(' ')
}

func (w *writer) open() error {
	if w.operate {
		return errors.New("an operator is missing before \"(\"")
	}
	if w.depth++; w.depth > maxDepth {
		return fmt.Errorf("more than %d parentheses in each other", maxDepth)
	}
	w.put("(")
	return nil
}

func (w *writer) close() error {
	if !w.operate || w.depth == 0 {
		return errors.New("\")\" where none can stand")
	}
	w.depth--
	w.put(")")
	return nil
}

func (w *writer) not() error {
	if w.operate {
		return errors.New("an operator is missing before \"not\"")
	}
	w.put("not")
	return nil
}

func (w *writer) operator(name string) error {
	if !w.operate {
		return fmt.Errorf("a check is missing before %q", name)
	}
	w.operate = false
	w.put(name)
	return nil
}

func (w *writer) operand(check string) error {
	if w.operate {
		return errors.New("two checks without an operator between them")
	}
	w.operate = true
	w.put(check)
	return nil
}

func (w *writer) end() (string, error) {
	if !w.operate {
		return "", errors.New("the text ends where a check is expected")
	}
	if w.depth > 0 {
		return "", errors.New("a \")\" is missing")
	}
	return w.b.String(), nil
}
