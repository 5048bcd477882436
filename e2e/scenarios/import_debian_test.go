package scenarios

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
)

// debian returns the file of a Debian cloud image, a compressed qcow2, which is made once per recipe.
func debian(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("mmdebstrap"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root and mmdebstrap")
		}
		t.Skip("needs root and mmdebstrap")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../lab/debian.sh", "../../.build/cache")
	cmd.WaitDelay = 10 * time.Second // for what it has started
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("debian.sh: %v\n%s", err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// TestImportDebian downloads a cloud image of Debian to three stores at once, starts a clone of it at an edge up to its login
// prompt, and knows what system it is.
func TestImportDebian(t *testing.T) {
	l := newImportLab(t)
	defer l.nothingLeft()()
	file := debian(t)
	web := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(file))))
	defer web.Close()
	raw := filepath.Join(l.dir, "debian.raw")
	l.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, raw)
	want := l.sumFile(raw)
	id := l.queue("qcow2")
	began := time.Now()
	l.fetch(id, web.URL+"/"+filepath.Base(file), lab.Sites, lab.Object{"checksum": "sha256:" + l.sumFile(file)}).Is(http.StatusAccepted)
	img := l.done(id)
	t.Logf("at three sites after %s; the hub has held %d MiB", time.Since(began), l.Hub.PeakMemory()>>20)
	for name, v := range map[string]string{
		"disk_format": "raw", "atoll_source_format": "qcow2", "os_distro": "debian", "os_version": "12", "stores": "central,dcn0,dcn1",
	} {
		if got := img.Text(name); got != v {
			t.Errorf("%s is %q, want %q", name, got, v)
		}
	}
	for _, s := range lab.Sites {
		if got := l.Sum(s, id); got != want {
			t.Errorf("%s holds %s, want %s", s, got, want)
		}
	}
	unclone := l.Clone("dcn1", id, "2")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	boot := exec.CommandContext(ctx, "../demo/boot.sh", "rbd:images/clone-of-"+id+":conf="+l.Conf("dcn1"), "atoll-guest login:")
	boot.Env = append(boot.Environ(), "BOOT_SECONDS=400", "BOOT_MEMORY=256", "BOOT_LOG="+filepath.Join(l.dir, "console.log"))
	boot.WaitDelay = 10 * time.Second
	began = time.Now()
	if out, err := boot.CombinedOutput(); err != nil {
		t.Errorf("the image does not boot: %v\n%s", err, out)
	}
	t.Logf("the guest took %s to its login prompt", time.Since(began))
	unclone()
	l.remove(id)
}
