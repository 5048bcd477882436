package lab

import "strings"

// Table is what the glance command prints.
type Table struct {
	Header []string
	Rows   [][]string
}

// ParseTable reads a table as the clients print it, with lines around it and columns between bars. Long values go on in
// the next line, whose first column is empty.
func ParseTable(out string) Table {
	var t Table
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch last := len(t.Rows) - 1; {
		case t.Header == nil:
			t.Header = cells
		case cells[0] == "" && last >= 0 && len(cells) == len(t.Rows[last]):
			for i := range cells {
				t.Rows[last][i] += cells[i]
			}
		default:
			t.Rows = append(t.Rows, cells)
		}
	}
	return t
}

// Get returns the value of a property in a table of properties; empty when it is not there.
func (t Table) Get(name string) string {
	v, _ := t.Lookup(name)
	return v
}

// Lookup is Get that tells a property without a value from one that is not there.
func (t Table) Lookup(name string) (string, bool) {
	for _, row := range t.Rows {
		if len(row) == 2 && row[0] == name {
			return row[1], true
		}
	}
	return "", false
}

// Column returns the cells below a heading; nil when the table has no such column.
func (t Table) Column(heading string) []string {
	for i, h := range t.Header {
		if strings.EqualFold(h, heading) {
			cells := []string{}
			for _, row := range t.Rows {
				if i < len(row) {
					cells = append(cells, row[i])
				}
			}
			return cells
		}
	}
	return nil
}

// Of returns the cell below a heading in the row whose first column is key; empty when there is none.
func (t Table) Of(key, heading string) string {
	first := t.Column(t.first())
	for i, cell := range t.Column(heading) {
		if first[i] == key {
			return cell
		}
	}
	return ""
}

func (t Table) first() string {
	if len(t.Header) == 0 {
		return ""
	}
	return t.Header[0]
}
