package imageapi

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLongFilter looks at one image with the longest list of names that a URL holds. A list looks at all images, so
// what one takes is multiplied by a hundred thousand.
func BenchmarkLongFilter(b *testing.B) {
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprintf("%03x", i)
	}
	q, err := parseQuery("name=in:" + strings.Join(names, ","))
	if err != nil {
		b.Fatal(err)
	}
	img := &Image{Name: "z01"}
	for b.Loop() {
		if q.matches(img) {
			b.Fatal("it is in the list")
		}
	}
}
