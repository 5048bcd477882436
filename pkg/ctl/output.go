package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// format is how results are written; the zero value is a table.
type format int

const (
	asTable format = iota
	asJSON
	asYAML
)

var formats = [...]string{"table", "json", "yaml"}

// String returns the name of the format.
func (f *format) String() string { return formats[*f] }

// Type names the value in help.
func (f *format) Type() string { return "format" }

// Set parses the name of a format.
func (f *format) Set(s string) error {
	i := slices.Index(formats[:], s)
	if i < 0 {
		return fault.New(fault.Invalid, reasonUsage, "--output: %q is not one of %s", s, strings.Join(formats[:], ", "))
	}
	*f = format(i)
	return nil
}

// show writes one message: as text through table, or as JSON or YAML of the API message.
func (c *cli) show(m proto.Message, table func(*lines)) error {
	if c.format == asTable {
		l := &lines{}
		table(l)
		_, err := io.WriteString(c.env.Stdout, l.text(2))
		return err
	}
	data, err := encode(m)
	if err != nil {
		return err
	}
	return c.write(data)
}

// showList writes a list: as a table of one row per item, or as an object with one array named name.
func showList[M proto.Message](c *cli, name string, items []M, header []string, row func(M) []string) error {
	if c.format == asTable {
		l := &lines{}
		l.add(header...)
		for _, m := range items {
			l.add(row(m)...)
		}
		_, err := io.WriteString(c.env.Stdout, l.text(3))
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "{%q:[", name)
	for i, m := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		data, err := encode(m)
		if err != nil {
			return err
		}
		b.Write(data)
	}
	b.WriteString("]}")
	return c.write(b.Bytes())
}

// encode returns the message as JSON with the field names of the API and every plain field present.
func encode(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
}

// write writes JSON in the format asked for. protojson varies its white space on purpose; here it is made stable.
func (c *cli) write(data []byte) error {
	if c.format == asYAML {
		text, err := yaml.JSONToYAML(data)
		if err != nil {
			return err
		}
		_, err = c.env.Stdout.Write(text)
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := c.env.Stdout.Write(b.Bytes())
	return err
}

// lines collects cells that are aligned in columns.
type lines struct{ rows [][]string }

// add appends a row. Empty cells become a dash, and what could confuse a terminal is replaced.
func (l *lines) add(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		if row[i] = clean(cell); row[i] == "" {
			row[i] = "-"
		}
	}
	l.rows = append(l.rows, row)
}

// pairs appends one row for each value: the first carries the key.
func (l *lines) pairs(key string, values ...string) {
	if len(values) == 0 {
		values = []string{""}
	}
	for i, v := range values {
		l.add(key, v)
		if i == 0 {
			continue
		}
		l.rows[len(l.rows)-1][0] = ""
	}
}

func (l *lines) text(padding int) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 1, padding, ' ', 0)
	for _, row := range l.rows {
		_, _ = io.WriteString(w, strings.Join(row, "\t")+"\n")
	}
	_ = w.Flush()
	return b.String()
}

// clean replaces what could move the cursor or break the table.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e {
			return ' '
		}
		return r
	}, s)
}

// collect returns all items of a sequence.
func collect[T any](items iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}
