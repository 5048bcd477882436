package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

func protections(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "property-protections.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func allFour(value string) string {
	return "create = " + value + "\nread = " + value + "\nupdate = " + value + "\ndelete = " + value + "\n"
}

// granted returns which operations a caller may do, as "crud".
func granted(e *Enforcer, c *auth.Caller, name string) string {
	var s string
	for _, op := range operations {
		if e.Property(c, name, op) {
			s += string(op[0])
		}
	}
	return s
}

func TestPropertiesByRole(t *testing.T) {
	e := enforcer(t, Options{ProtectionFile: protections(t, `
# comment
; another
[^x_owner_.*]
create = admin, Member
read: admin,member,reader
update = admin
delete = admin,
  billing

[secret]
create = admin
read = admin
update = !
delete =

[^os_glance_not_ours]
`+allFour("!")+`
[^open]
`+allFour("@")+`
[^closed]
`+allFour("!, admin")+`
[.*_note$]
`+allFour("Writer"))})
	if !e.Protected() {
		t.Fatal("nothing is protected")
	}
	for _, test := range []struct {
		caller *auth.Caller
		name   string
		want   string
	}{
		{person("member"), "x_owner_name", "cr"},
		{person("reader"), "x_owner_name", "r"},
		{person("admin"), "x_owner_name", "crud"},
		{person("billing"), "x_owner_name", "d"},
		{person("admin"), "my_secret_key", "cr"}, // found anywhere in the name
		{person("member"), "my_secret_key", ""},
		{person("nobody"), "open_door", "crud"},
		{person("admin"), "closed_door", ""},
		{person("writer"), "a_note", "crud"},
		{person("writer"), "a_note_more", ""},
		{person("admin"), "no_section_matches", ""},
		{person("nobody"), "os_glance_not_ours", "crud"},
		{person("nobody"), "os_glance_importing_to_stores", "crud"},
		{person("nobody"), "my_os_glance", ""},
		{person("reader").WithService(&auth.Caller{Roles: []string{"writer"}}), "a_note", "crud"},
		{nil, "open_door", ""},
	} {
		if got := granted(e, test.caller, test.name); got != test.want {
			t.Errorf("%+v and %s: %q, want %q", test.caller, test.name, got, test.want)
		}
	}
}

// TestFirstMatchDecides is about OSSN-0013: a permissive section that comes later does not override a strict one.
func TestFirstMatchDecides(t *testing.T) {
	e := enforcer(t, Options{ProtectionFile: protections(t, "[^licence]\n"+allFour("admin")+"[.*]\n"+allFour("@"))})
	if got := granted(e, person("member"), "licence_key"); got != "" {
		t.Errorf("a member may %q, want nothing", got)
	}
	if got := granted(e, person("member"), "colour"); got != "crud" {
		t.Errorf("a member may %q, want everything", got)
	}
}

func TestPropertiesByPolicy(t *testing.T) {
	dir := t.TempDir()
	rules := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(rules, []byte("property_owner: role:keeper\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := enforcer(t, Options{File: rules, ProtectionFormat: "policies", ProtectionFile: protections(t, `
[^keep_]
create = property_owner
read = @
update = context_is_admin
delete = !
`)})
	if got := granted(e, person("keeper"), "keep_it"); got != "cr" {
		t.Errorf("the keeper may %q", got)
	}
	if got := granted(e, person("admin"), "keep_it"); got != "ru" {
		t.Errorf("the administrator may %q", got)
	}
}

func TestWithoutProtections(t *testing.T) {
	e := enforcer(t, Options{})
	if e.Protected() || granted(e, person(), "anything") != "crud" {
		t.Error("properties are protected without a file")
	}
}

func TestPropertyChecksChangeNothing(t *testing.T) {
	e := enforcer(t, Options{ProtectionFile: protections(t, "[.*]\n"+allFour("admin"))})
	c := person("reader").WithService(&auth.Caller{Roles: []string{"service"}})
	for range 3 {
		granted(e, c, "x")
	}
	if len(c.Roles) != 1 || len(c.ServiceRoles) != 1 {
		t.Errorf("the caller's roles grew: %+v", c)
	}
}

func TestProtectionsThatStopTheStart(t *testing.T) {
	for name, test := range map[string]struct{ text, format, want string }{
		"operation missing":  {"[x]\ncreate = @\nread = @\nupdate = @\n", "", `"delete" is missing`},
		"anyone and nobody":  {"[x]\n" + allFour("@, !"), "", "exclude"},
		"two policies":       {"[x]\n" + allFour("context_is_admin, default"), "policies", "not a list"},
		"unknown policy":     {"[x]\n" + allFour("nothing"), "policies", `"nothing"`},
		"bad pattern":        {"[x(]\n" + allFour("@"), "", "[x(]"},
		"look ahead":         {"[x(?!y)]\n" + allFour("@"), "", "not supported"},
		"reference back":     {"[(x)\\1]\n" + allFour("@"), "", "not supported"},
		"section twice":      {"[x]\n" + allFour("@") + "[x]\n" + allFour("!"), "", "twice"},
		"key twice":          {"[x]\ncreate = @\n" + allFour("@"), "", "twice"},
		"value first":        {"create = @\n[x]\n", "", "before the first"},
		"not a section":      {"[x\n" + allFour("@"), "", "[pattern]"},
		"empty section":      {"[]\n" + allFour("@"), "", "[pattern]"},
		"no value":           {"[x]\ncreate\n", "", "key = value"},
		"default section":    {"[DEFAULT]\n" + allFour("@"), "", "DEFAULT"},
		"indented beginning": {"  x = y\n", "", "continues nothing"},
		"format":             {"[x]\n" + allFour("@"), "rules", `"rules"`},
		"too large":          {strings.Repeat("#", maxFile+1), "", "larger"},
	} {
		_, err := New(Options{ProtectionFile: protections(t, test.text), ProtectionFormat: test.format})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "property-protections.conf") {
			t.Errorf("%s: got %v, want an error with %q that names the file", name, err, test.want)
		}
	}
	if _, err := New(Options{ProtectionFile: filepath.Join(t.TempDir(), "missing.conf")}); err == nil || !strings.Contains(err.Error(), "missing.conf") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestProtectionsThatAreWarnedAbout(t *testing.T) {
	log := new(bytes.Buffer)
	enforcer(t, Options{
		ProtectionFile: protections(t, "[os_glance_x]\n"+allFour("!")+"[y]\ncreate =\nread = @\nupdate = @\ndelete = @\n"),
		Log:            hclog.New(&hclog.LoggerOptions{Output: log}),
	})
	for _, want := range []string{"os_glance_x", "lets nobody in"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, log)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"b", "abc", true},
		{"^b", "abc", false},
		{`^\w+$`, "größe_1", true},
		{`^[\w-]+$`, "größe-1", true},
		{`^\d$`, "٣", true},
		{`^\D$`, "٣", false},
		{`^\W$`, "ß", false},
		{`\s`, "a\u00a0b", true},
		{`^a\Z`, "a", true},
		{`[]a]+b`, "]b", true},
		{`^[^]a]$`, "b", true},
		{`^[^]a]$`, "]", false},
		{`a\.b`, "axb", false},
		{`a{2,3}`, "caab", true},
		{`(?i)ABC`, "abc", true},
		{`(?P<name>x)y`, "xy", true},
		{`\é`, "é", true},
		{`[a\]]b`, "]b", true},
	} {
		re, err := compilePython(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if got := re.MatchString(test.text); got != test.want {
			t.Errorf("%s in %q: %v, want %v", test.pattern, test.text, got, test.want)
		}
	}
	for _, bad := range []string{`a\`, `[[:alpha:]]`, `a{,3}`, `\bx`, `\pL`, `\Qx\E`, `[\W]`, `(?=x)`, `(?<=x)y`, `(?P=x)`, `(?x)a`, `a++`, `*`} {
		if re, err := compilePython(bad); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%s: got %v, %v, want an error", bad, re, err)
		}
	}
}
