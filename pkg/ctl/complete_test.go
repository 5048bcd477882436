package ctl

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// completions returns what the shell would offer at the end of a command line.
func completions(t *testing.T, addr, line string) []string {
	t.Helper()
	r := &run{within: func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Minute) // nobody waits at a shell
	}}
	if code := r.do(t.Context(), addr, append([]string{cobra.ShellCompRequestCmd}, strings.Split(line, " ")...)...); code != exitOK {
		t.Fatalf("%q: exit code %d: %s", line, code, &r.err)
	}
	var found []string
	for l := range strings.SplitSeq(r.out.String(), "\n") {
		if name, _, _ := strings.Cut(l, "\t"); name != "" && !strings.HasPrefix(name, ":") {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

func TestCompletion(t *testing.T) {
	h := furnish(t)
	third := "11111111-2222-4333-8444-555555555555"
	h.Change(func() { h.Images[third] = &hubv1.Image{Id: third, Name: "wide"} })
	for line, want := range map[string]string{
		"image show d":                         "debian-12",
		"image show 2":                         debian,
		"image show ":                          third + " " + alpine + " " + second + " debian-12",
		"image show w":                         "",
		"image show debian-12 ":                "",
		"replica delete debian-12 ":            "central dcn0 dcn1",
		"replica delete debian-12 d":           "dcn0 dcn1",
		"image copy debian-12 --stores d":      "dcn0 dcn1",
		"replica list --store c":               "central",
		"site token ":                          "central dcn0 dcn1",
		"operation cancel ":                    "00000000-0000-4000-8000-000000000001",
		"operation show ":                      "00000000-0000-4000-8000-000000000001 00000000-0000-4000-8000-000000000002",
		"image list -o ":                       "json table yaml",
		"image copy debian-12 --stores dcn1,d": "dcn1,dcn0 dcn1,dcn1",
		"image list --name debian-12 --na":     "",
		"repl":                                 "replica",
		"replica v":                            "verify",
	} {
		if got := strings.Join(completions(t, h.Addr, line), " "); got != want {
			t.Errorf("%q: offers %q, want %q", line, got, want)
		}
	}
}

func TestCompletionIsSilentOnFailure(t *testing.T) {
	h := furnish(t)
	h.Fail("ListStores", fault.New(fault.Internal, "X", "x"))
	if got := completions(t, h.Addr, "store show "); len(got) != 0 {
		t.Errorf("offers %v", got)
	}
	h.Down(true)
	for _, line := range []string{"store show ", "image show ", "site show ", "operation show "} {
		if got := completions(t, h.Addr, line); len(got) != 0 {
			t.Errorf("%q: offers %v", line, got)
		}
	}
}

// TestEveryCommandIsDocumented walks all commands.
func TestEveryCommandIsDocumented(t *testing.T) {
	c := &cli{env: Env{Getenv: func(string) string { return "" }}}
	var walk func(cmd *cobra.Command)
	n := 0
	walk = func(cmd *cobra.Command) {
		n++
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s has no help or no example", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: example %q is not indented", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(c.root())
	if n < 30 {
		t.Errorf("only %d commands", n)
	}
}
