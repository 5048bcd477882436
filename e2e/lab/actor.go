package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Actor is a user of the cloud, who types the commands that users type and whose programs make requests with a token.
type Actor struct {
	T    *testing.T
	Name string
	Env  map[string]string // the OS_ variables of the user's rc file
	home string            // directory of the user's files
	base string            // address of the Image API
	id   *identity
}

// In returns the same user for another test.
func (a *Actor) In(t *testing.T) *Actor {
	b := *a
	b.T = t
	return &b
}

// readRC returns the variables that a file of shell exports sets.
func readRC(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.TrimPrefix(strings.TrimSpace(s.Text()), "export ")
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, "OS_") {
			env[name] = strings.Trim(value, `'"`)
		}
	}
	return env, nil
}

// Run runs a command of the OpenStack clients with the user's variables. Without input it closes the command's standard
// input: the clients take one that is open and no terminal for image data.
func (a *Actor) Run(input io.Reader, program string, args ...string) (out, errs string, code int) {
	a.T.Helper()
	ctx, cancel := context.WithTimeout(a.T.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	if input == nil {
		cmd = exec.CommandContext(ctx, "bash", append([]string{"-c", `exec "$@" <&-`, "bash", program}, args...)...)
	}
	cmd.Dir, cmd.Stdin = a.home, input
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OS_") && !strings.HasPrefix(v, "HOME=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+a.home, "PYTHONWARNINGS=ignore", "COLUMNS=250")
	for name, value := range a.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // the exit code tells
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// Glance runs the glance command, which has to succeed, and returns what it prints.
func (a *Actor) Glance(args ...string) Table {
	a.T.Helper()
	return a.GlanceFrom(nil, args...)
}

// GlanceFrom is Glance with data on its standard input.
func (a *Actor) GlanceFrom(input io.Reader, args ...string) Table {
	a.T.Helper()
	out, errs, code := a.Run(input, "glance", args...)
	if code != 0 {
		a.T.Fatalf("%s: glance %s: exit code %d\n%s%s", a.Name, strings.Join(args, " "), code, out, errs)
	}
	return ParseTable(out)
}

// GlanceFails runs a glance command that has to fail with a message that contains want.
func (a *Actor) GlanceFails(want string, args ...string) {
	a.T.Helper()
	out, errs, code := a.Run(nil, "glance", args...)
	if code == 0 || !strings.Contains(errs, want) || strings.Contains(errs, "Traceback") {
		a.T.Fatalf("%s: glance %s: exit code %d, wanted a failure with %q\n%s%s", a.Name, strings.Join(args, " "), code, want, out, errs)
	}
}

// OpenStack runs the openstack command, which has to succeed, and returns what it prints.
func (a *Actor) OpenStack(args ...string) string {
	a.T.Helper()
	out, errs, code := a.Run(nil, "openstack", args...)
	if code != 0 {
		a.T.Fatalf("%s: openstack %s: exit code %d\n%s%s", a.Name, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// OpenStackJSON is OpenStack for commands that print JSON when asked to, which it reads into v.
func (a *Actor) OpenStackJSON(v any, args ...string) {
	a.T.Helper()
	out := a.OpenStack(append(args, "-f", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		a.T.Fatalf("%s: openstack %s: %v\n%s", a.Name, strings.Join(args, " "), err, out)
	}
}

// OpenStackFails runs an openstack command that has to fail with a message that contains want.
func (a *Actor) OpenStackFails(want string, args ...string) {
	a.T.Helper()
	out, errs, code := a.Run(nil, "openstack", args...)
	if code == 0 || !strings.Contains(errs, want) || strings.Contains(errs, "Traceback") {
		a.T.Fatalf("%s: openstack %s: exit code %d, wanted a failure with %q\n%s%s", a.Name, strings.Join(args, " "), code, want, out, errs)
	}
}

// File writes a file into the user's directory and returns its path.
func (a *Actor) File(name string, data []byte) string {
	a.T.Helper()
	path := filepath.Join(a.home, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		a.T.Fatal(err)
	}
	return path
}

// Read returns a file and removes it.
func (a *Actor) Read(path string) []byte {
	a.T.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		a.T.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		a.T.Fatal(err)
	}
	return b
}
