package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// RBD runs the rbd command as the administrator of a site's cluster, so that results are not checked with our own code.
func (l *Lab) RBD(site string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "rbd", append([]string{"-c", l.Conf(site)}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// MustRBD is RBD for commands that have to succeed.
func (l *Lab) MustRBD(site string, args ...string) string {
	l.T.Helper()
	out, err := l.RBD(site, args...)
	if err != nil {
		l.T.Fatalf("rbd %s at %s: %v\n%s", strings.Join(args, " "), site, err, out)
	}
	return out
}

// Images returns the names of all images in a site's pool.
func (l *Lab) Images(site string) []string {
	l.T.Helper()
	return strings.Fields(l.MustRBD(site, "ls", "images"))
}

// Holds reports whether a site's pool has anything of an image, under whatever name.
func (l *Lab) Holds(site, id string) bool {
	l.T.Helper()
	return slices.ContainsFunc(l.Images(site), func(name string) bool { return strings.Contains(name, id) })
}

// Sum returns the SHA-256 of an image's published snapshot, as `rbd export` reads it.
func (l *Lab) Sum(site, id string) string {
	l.T.Helper()
	return l.SumOf(site, "images/"+id+"@snap")
}

// SumOf returns the SHA-256 of any image or snapshot.
func (l *Lab) SumOf(site, spec string) string {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rbd", "-c", l.Conf(site), "export", "--no-progress", spec, "-")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.T.Fatal(err)
	}
	h := sha256.New()
	_, err = io.Copy(h, out)
	if werr := cmd.Wait(); err != nil || werr != nil {
		l.T.Fatalf("rbd export at %s: %v %v", site, err, werr)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Clone makes a copy-on-write clone of a published copy and returns a function that removes it.
func (l *Lab) Clone(site, id string, format string) (remove func()) {
	l.T.Helper()
	name := "images/clone-of-" + id
	l.MustRBD(site, "clone", "--rbd-default-clone-format", format, "images/"+id+"@snap", name)
	return func() {
		l.T.Helper()
		l.MustRBD(site, "rm", "--no-progress", name)
	}
}

// empty removes every image from a site's pool.
func (l *Lab) empty(site string) {
	l.T.Helper()
	names := l.Images(site)
	if len(names) == 0 {
		return
	}
	slices.SortFunc(names, func(a, b string) int { // clones first
		return strings.Compare(b[:min(5, len(b))], a[:min(5, len(a))])
	})
	for began, peered := time.Now(), false; ; { // a parent goes once its clones are gone
		for _, name := range names {
			_, _ = l.RBD(site, "snap", "unprotect", "images/"+name+"@snap")
			_, _ = l.RBD(site, "snap", "purge", "--no-progress", "images/"+name)
			_, _ = l.RBD(site, "rm", "--no-progress", "images/"+name)
		}
		if names = l.Images(site); len(names) == 0 {
			return
		}
		if time.Since(began) > 2*time.Minute {
			l.T.Logf("left in the pool of %s: %v", site, names)
			return
		}
		for _, name := range names {
			l.shutOut(site, name)
		}
		if !peered && time.Since(began) > 20*time.Second {
			// An OSD that has stood still may remember somebody who looks at an image for ever, until it peers again.
			_ = l.Ceph(site, "osd", "down", "0")
			peered = true
		}
	}
}

// shutOut makes a cluster forget who had an image open. For half a minute it takes an agent that was killed for one that still
// does, and does not let the image be removed.
func (l *Lab) shutOut(site, name string) {
	l.T.Helper()
	out, _ := l.RBD(site, "status", "--format", "json", "images/"+name) // it is gone meanwhile: nobody
	var status struct{ Watchers []struct{ Address string } }
	_ = json.Unmarshal([]byte(out), &status)
	for _, w := range status.Watchers {
		_ = l.Ceph(site, "osd", "blocklist", "add", w.Address)
	}
}

// Ceph runs the ceph command as the administrator of a site's cluster.
func (l *Lab) Ceph(site string, args ...string) string {
	l.T.Helper()
	return l.admin(site, "ceph", args)
}

// Rados runs the rados command as the administrator of a site's cluster.
func (l *Lab) Rados(site string, args ...string) string {
	l.T.Helper()
	return l.admin(site, "rados", args)
}

func (l *Lab) admin(site, program string, args []string) string {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append([]string{"-c", l.Conf(site)}, args...)...).Output()
	if err != nil {
		l.T.Fatalf("%s %s at %s: %v", program, strings.Join(args, " "), site, err)
	}
	return strings.TrimSpace(string(out))
}

// OSD stops or starts the OSD of a site: "osd-stop" or "osd-start".
func (l *Lab) OSD(site, action string) {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "../lab/ceph.sh", action, l.ceph, site).CombinedOutput(); err != nil {
		l.T.Fatalf("%s %s: %v\n%s", action, site, err, out)
	}
}
