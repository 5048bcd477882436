package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// execute runs a command line and returns what it prints.
func execute(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command("v1")
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// configure writes a configuration with a state directory and a store of its own, and returns its path.
func configure(t *testing.T) (path, stateDir string) {
	t.Helper()
	dir := t.TempDir()
	stateDir = filepath.Join(dir, "state")
	text := strings.NewReplacer("/var/lib/atoll-agent", stateDir, "/srv/images", dir, ":9394", ":1", ":9395", ":1").Replace(good)
	path = filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, stateDir
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"bogus"}, {"run", "extra"}, {"join", "--bogus"}, {"version", "x"}} {
		if _, err := execute(t, "", args...); !errors.Is(err, errUsage) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""},
		{errUsage, 2, "atoll-agent: see atoll-agent --help\n"},
		{fault.BadField("site", "is bad"), 2, "atoll-agent: site: is bad [INVALID_FIELD]\n"},
		{fault.Wrap(errors.New("10.0.0.1 down"), fault.Unavailable, "UNREACHABLE", "no hub"), 1, "atoll-agent: no hub [UNREACHABLE]\n"},
		{errors.New("boom"), 1, "atoll-agent: boom\n"},
	} {
		var out bytes.Buffer
		if code := report(&out, c.err); code != c.code || out.String() != c.text {
			t.Errorf("%v: code %d, text %q", c.err, code, out.String())
		}
	}
}

func TestVersion(t *testing.T) {
	out, err := execute(t, "", "version")
	if err != nil || !strings.HasPrefix(out, "atoll-agent v1 (stores: ") || !strings.Contains(out, "file") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestNoConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	for _, args := range [][]string{{"run", "--config", path}, {"join", "--token", "x", "--config", path}} {
		_, err := execute(t, "", args...)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), "none.yaml cannot be read: no such file") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestRunBeforeJoin(t *testing.T) {
	path, _ := configure(t)
	_, err := execute(t, "", "run", "--config", path)
	if fault.ReasonOf(err) != "NOT_JOINED" {
		t.Errorf("got %v", err)
	}
}

func TestOneAgentPerStateDirectory(t *testing.T) {
	path, state := configure(t)
	lock, err := lockState(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t, "", "run", "--config", path); fault.ReasonOf(err) != "STATE_DIR_IN_USE" {
		t.Errorf("got %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t, "", "run", "--config", path); fault.ReasonOf(err) != "NOT_JOINED" {
		t.Errorf("after the other has ended: %v", err)
	}
}

// TestJoinToken checks where join takes the token from, up to the call of a hub that is not there.
func TestJoinToken(t *testing.T) {
	path, state := configure(t)
	token := pki.NewJoinToken("dcn0", strings.Repeat("a", 64)).String()
	for _, c := range []struct {
		in, flag, reason string
	}{
		{"", "", "INVALID_FIELD"},
		{"", "rubbish", "INVALID_FIELD"},
		{"", "-", "INVALID_FIELD"},
		{"", token, "UNREACHABLE"},
		{token + "\n", "-", "UNREACHABLE"},
	} {
		_, err := execute(t, c.in, "join", "--config", path, "--token", c.flag)
		if fault.ReasonOf(err) != c.reason {
			t.Errorf("--token %q with input %q: %v", c.flag, c.in, err)
		}
	}
	if files, err := os.ReadDir(state); err != nil || len(files) != 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
