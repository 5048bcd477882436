package arch_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPackageNames(t *testing.T) {
	for _, p := range load(t, true) {
		if from, ok := p.ours(); ok && slices.Contains(forbiddenNames, p.Name) {
			t.Errorf("rule names: package %s (%s) has a name that says nothing", p.Name, from)
		}
	}
}

func TestFileSizes(t *testing.T) {
	dir := root(t)
	var sizes []int
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			// Dot directories hold tools and demo state; generated code is as long as it is.
			if name != "." && (d.Name()[0] == '.' || matches(generated, full(filepath.ToSlash(name)))) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := bytes.Count(b, []byte{'\n'}); n > maxLines {
			t.Errorf("rule sizes: %s has %d lines: no file has more than %d", name, n, maxLines)
		}
		sizes = append(sizes, len(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sizes) == 0 {
		t.Fatal("found no Go files")
	}
	slices.Sort(sizes)
	if median := sizes[len(sizes)/2]; median > medianBytes {
		t.Errorf("rule sizes: the median file has %d bytes: keep it below %d", median, medianBytes)
	}
}
