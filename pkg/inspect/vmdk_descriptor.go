package inspect

import (
	"strings"
	"unicode/utf8"
)

// vmdkCreateTypes are the kinds of disks that need no other file.
var vmdkCreateTypes = map[string]bool{"streamoptimized": true, "monolithicsparse": true}

// leftover reports whether what is behind the end of a descriptor is nothing, or the last bytes of the descriptor once more:
// qemu-img writes a new content id of up to eight digits over an older one that may have been longer, and what was the end of the
// text before stays behind its new end.
func leftover(text, rest string) bool { return len(rest) < 8 && strings.HasSuffix(text, rest) }

// vmdkDescriptor checks the text that describes the disk. Only what is understood is accepted: readers differ in what they
// make of the rest.
func (c *candidate) vmdkDescriptor(p []byte) *region {
	text, rest, _ := strings.Cut(string(p), "\x00")
	if !leftover(text, strings.TrimRight(rest, "\x00")) {
		return c.refuse("its descriptor has something behind its end")
	}
	if !utf8.ValidString(text) || !strings.HasPrefix(text, vmdkDescriptor) {
		return c.refuse("its descriptor is not text")
	}
	var create, extents int
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
			return c.refuse("its descriptor is not text") // what is a new line for some readers is not for others
		}
		if line == "" || line[0] == '#' {
			if strings.Contains(strings.ToLower(line), "createtype") { // readers search the whole text
				return c.refuse("its descriptor names its type in a comment")
			}
			continue
		}
		if isExtent(line) {
			extents++
			c.vmdkExtent(line)
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return c.refuse("a line of its descriptor is not understood")
		}
		if c.vmdkSetting(strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)) {
			create++
		}
	}
	switch {
	case create != 1:
		return c.refuse("its descriptor must name its type once")
	case extents != 1:
		return c.refuse("it must have one extent, and has %d", extents)
	}
	return nil
}

// vmdkSetting checks a key and its value. It reports whether it is the type of the disk.
func (c *candidate) vmdkSetting(key, value string) (create bool) {
	switch {
	case key == "createtype":
		if !vmdkCreateTypes[strings.ToLower(value)] {
			c.refuse("its type %.30q is not accepted, only streamOptimized and monolithicSparse are", value)
		}
		return true
	case strings.Contains(key, "createtype") || strings.Contains(strings.ToLower(value), "createtype"):
		c.refuse("its descriptor names its type inside something else")
	case strings.HasPrefix(key, "parentfilenamehint"):
		c.refuse("it has a parent")
	case key == "parentcid" && !strings.EqualFold(value, "ffffffff"):
		c.refuse("it has a parent")
	}
	return false
}

// isExtent reports whether a line tells of a part of the disk.
func isExtent(line string) bool {
	word, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	switch strings.ToUpper(word) {
	case "RW", "RDONLY", "NOACCESS":
		return true
	}
	return false
}

// vmdkExtent checks that the only part of the disk is this file: RW 8192 SPARSE "name.vmdk".
func (c *candidate) vmdkExtent(line string) {
	access, rest, _ := strings.Cut(line, " ")
	sectors, rest, _ := strings.Cut(rest, " ")
	kind, name, _ := strings.Cut(rest, " ")
	quoted := len(name) > 2 && name[0] == '"' && name[len(name)-1] == '"' && strings.Count(name, `"`) == 2
	switch {
	case !strings.EqualFold(access, "RW") && !strings.EqualFold(access, "RDONLY"), strings.Trim(sectors, "0123456789") != "" || sectors == "":
		c.refuse("its extent is not understood")
	case !strings.EqualFold(kind, "SPARSE"):
		c.refuse("its extent is in another file")
	case !quoted:
		c.refuse("its extent is not understood")
	case strings.ContainsAny(name, `/\`) || name == `".."`:
		c.refuse("its extent has a path")
	}
}
