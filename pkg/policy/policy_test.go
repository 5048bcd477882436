package policy

import (
	"testing"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

func person(roles ...string) *auth.Caller {
	return &auth.Caller{UserID: "u1", ProjectID: "p1", Roles: roles}
}

func image(owner, visibility string) Map {
	return Map{"id": "i1", "owner": owner, "project_id": owner, "visibility": visibility}
}

func BenchmarkAllowed(b *testing.B) {
	e, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		rule   string
		caller *auth.Caller
		target Target
		want   bool
	}{
		{"get_image", person("reader"), image("p2", "public"), true},
		{"get_image", person("admin", "member", "reader"), image("p2", "private"), true},
		{"copy_image", person("member", "reader"), image("p2", "private"), false},
		{"modify_image", person("member", "reader"), image("p1", "private"), true},
	} {
		b.Run(bench.rule, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if e.Allowed(bench.caller, bench.rule, bench.target) != bench.want {
					b.Fatal("wrong answer")
				}
			}
		})
	}
}
