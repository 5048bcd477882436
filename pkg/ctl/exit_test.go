package ctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func conflict() error {
	return fault.New(fault.Conflict, "ETAG_MISMATCH", "the image has changed meanwhile")
}

// TestExitCodes runs one command line for each way to fail.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "disk.raw")
	empty := filepath.Join(dir, "empty.raw")
	qcow2 := filepath.Join(dir, "disk.qcow2")
	for path, data := range map[string]string{file: "some data", empty: "", qcow2: "QFI\xfb\x00"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	internal := fault.New(fault.Internal, "X", "secret")
	field := &fault.Error{Class: fault.Invalid, Reason: "UNKNOWN_STORE", Message: "the request is wrong", Fields: []fault.Field{
		{Name: "target.stores[1]", Problem: "there is no store \"x\""}, {Name: "target.stores[2]", Problem: "named twice"},
	}}
	inUse := fault.New(fault.Precondition, "IN_USE", "in use")
	noLeader := fault.New(fault.Unavailable, "NO_LEADER", "no leader")
	const refused, missing = "ReplicateImage", "00000000-0000-4000-8000-00000000ffff"
	for _, tt := range []struct {
		args  string
		fault error // of the call that the command makes
		call  string
		code  int
		says  string
	}{
		{args: "", code: exitOK},
		{args: "image", code: exitOK},
		{args: "version", code: exitOK},
		{args: "version -o json", code: exitOK},
		{args: "--version", code: exitOK},
		{args: "frob", code: exitUsage, says: `there is no command "atollctl frob"`},
		{args: "image lst", code: exitUsage, says: `did you mean list`},
		{args: "image list --frob", code: exitUsage, says: "unknown flag: --frob"},
		{args: "image list -o xml", code: exitUsage, says: `"xml" is not one of table, json, yaml`},
		{args: "image list --timeout -1s", code: exitUsage, says: "--timeout"},
		{args: "image list extra", code: exitUsage, says: `"extra" is one argument too many`},
		{args: "image show", code: exitUsage, says: "IMAGE is missing; usage: atollctl image show IMAGE"},
		{args: "replica show a", code: exitUsage, says: "STORE is missing"},
		{args: "image download a b c", code: exitUsage, says: "one argument too many"},
		{args: "image show nothing", code: exitNotFound, says: `there is no image named "nothing" [IMAGE_NOT_FOUND]`},
		{args: "image show " + missing, code: exitNotFound, says: "[IMAGE_NOT_FOUND]"},
		{args: "operation show " + missing, code: exitNotFound, says: "[OPERATION_NOT_FOUND]"},
		{args: "operation wait " + missing, code: exitNotFound, says: "[OPERATION_NOT_FOUND]"},
		{args: "store show nowhere", code: exitNotFound, says: "[STORE_NOT_FOUND]"},
		{args: "site show nowhere", code: exitNotFound, says: "[SITE_NOT_FOUND]"},
		{args: "replica verify debian-12 nowhere", code: exitNotFound, says: "[REPLICA_NOT_FOUND]"},
		{args: "image copy debian-12", code: exitUsage, says: "--stores: name the stores"},
		{args: "image copy debian-12 --all-stores --stores dcn0", code: exitUsage, says: "--all-stores"},
		{args: "image copy debian-12 --stores=", code: exitUsage, says: "--stores: "},
		{args: "image copy debian-12 --stores dcn0,,dcn1", code: exitUsage, says: "one of the names is empty"},
		{args: "image copy debian-12 --stores dcn0,x", code: exitUsage, says: "  --stores: there is no store \"x\""},
		{args: "image copy debian-12 --stores central", code: exitConflict, says: "[REPLICA_EXISTS]"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: field, code: exitUsage, says: "atollctl: the request is wrong [UNKNOWN_STORE]\n" +
			"  target.stores[1]: there is no store \"x\"\n  target.stores[2]: named twice\n"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: conflict(), code: exitConflict, says: "[ETAG_MISMATCH]"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: internal, code: exitFailed, says: "[INTERNAL]"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: inUse, code: exitConflict, says: "in use [IN_USE]"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: noLeader, code: exitUnavailable, says: "no leader [NO_LEADER]"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: fault.New(fault.Exhausted, "TOO_MANY", "too many"), code: exitFailed, says: "[TOO_MANY]"},
		{args: "image copy debian-12 --stores dcn0", call: refused, fault: fault.New(fault.Timeout, "SLOW", "slow"), code: exitTimeout, says: "slow [SLOW]"},
		{args: "image import " + file, code: exitUsage, says: "--name: "},
		{args: "image import " + file + " --name n --id junk", code: exitUsage, says: "--id: "},
		{args: "image import " + file + " --name n --property junk", code: exitUsage, says: "--property: "},
		{args: "image import " + file + " --name n --stores dcn0,x", code: exitUsage, says: "[UNKNOWN_STORE]"},
		{args: "image import " + file + " --id " + debian, code: exitConflict, says: "is active"},
		{args: "image import " + file + " --id " + missing, code: exitUsage, says: "needs a name"},
		{args: "image import " + file + " --name other --id " + alpine, code: exitUsage, says: "--name: "},
		{args: "image import " + file + " --property a=b --id " + alpine, code: exitUsage, says: "image update"},
		{args: "image import " + dir + " --name n", code: exitUsage, says: "it is a directory"},
		{args: "image import " + empty + " --name n", code: exitUsage, says: "it is empty"},
		{args: "image import - --name n", code: exitUsage, says: "cannot import standard input: it is empty"},
		{args: "image import " + qcow2 + " --name n", code: exitUsage, says: "qemu-img convert"},
		{args: "image import " + dir + "/nothing --name n", code: exitUsage, says: "nothing: no such file or directory"},
		{args: "image import ftp://x/y --name n", code: exitUsage, says: "ftp is not supported"},
		{args: "image import http:///x --name n", code: exitUsage, says: "is not a URL"},
		{args: "image download debian-12 " + file, code: exitConflict, says: "use --force"},
		{args: "image download debian-12 --force " + dir, code: exitUsage, says: "is a directory"},
		{args: "image download debian-12 " + dir + "/no/where", code: exitUsage, says: "cannot write"},
		{args: "operation cancel 00000000-0000-4000-8000-000000000002", code: exitConflict, says: "[OPERATION_DONE]"},
		{args: "operation wait 00000000-0000-4000-8000-000000000002", code: exitConflict, says: "in use [IN_USE]"},
	} {
		h := furnish(t)
		if tt.fault != nil {
			h.Fail(tt.call, tt.fault)
		}
		before := len(h.Images)
		r := &run{}
		if code := r.do(t.Context(), h.Addr, strings.Fields(tt.args)...); code != tt.code {
			t.Errorf("atollctl %s: exit code %d, want %d", tt.args, code, tt.code)
		}
		text := r.err.String()
		if !strings.Contains(text, tt.says) || tt.code != exitOK && !strings.HasPrefix(text, "atollctl: ") {
			t.Errorf("atollctl %s: says %q, want %q", tt.args, text, tt.says)
		}
		if tt.code != exitOK && r.out.String() != "" {
			t.Errorf("atollctl %s: standard output %q", tt.args, &r.out)
		}
		if strings.Contains(text, "secret") {
			t.Errorf("atollctl %s: %q", tt.args, text)
		}
		if len(h.Images) != before {
			t.Errorf("atollctl %s: left an image behind", tt.args)
		}
	}
}

func TestUnreachableHub(t *testing.T) {
	h := clienttest.Start(t)
	h.Down(true)
	r := atollctl(t, h, exitUnavailable, "image", "list")
	has(t, r.err.String(), "the hub at "+h.Addr+" cannot be reached", "[UNREACHABLE]")
	r = atollctl(t, h, exitUnavailable, "image", "list", "--hub", "127.0.0.1:1")
	has(t, r.err.String(), "127.0.0.1:1")
}

func TestTimeout(t *testing.T) {
	h := furnish(t)
	h.Hold("ListImages", make(chan struct{}))
	r := atollctl(t, h, exitTimeout, "image", "list", "--timeout", "50ms")
	has(t, r.err.String(), "the time is up [TIMEOUT]")
}
