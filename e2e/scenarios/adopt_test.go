package scenarios

import (
	"crypto/md5" //nolint:gosec // the Image API publishes it
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// snapshotInstance does what Nova does for a snapshot of an instance whose disk is a clone of the image from: it changes the
// disk, clones it into the pool of images under the id of a new image, flattens that, and gives it a protected snapshot.
// It returns the location.
func snapshotInstance(l *lab.Lab, site, from, id string) string {
	l.T.Helper()
	disk := "images/disk_of_" + id
	l.MustRBD(site, "clone", "images/"+from+"@snap", disk)
	l.MustRBD(site, "bench", "--io-type", "write", "--io-size", "65536", "--io-total", "1048576", "--io-pattern", "rand", disk)
	l.MustRBD(site, "snap", "create", "--no-progress", disk+"@"+id)
	l.MustRBD(site, "snap", "protect", disk+"@"+id)
	l.MustRBD(site, "clone", disk+"@"+id, "images/"+id)
	l.MustRBD(site, "flatten", "--no-progress", "images/"+id)
	l.MustRBD(site, "snap", "create", "--no-progress", "images/"+id+"@snap")
	l.MustRBD(site, "snap", "protect", "images/"+id+"@snap")
	l.MustRBD(site, "snap", "unprotect", disk+"@"+id)
	l.MustRBD(site, "snap", "rm", "--no-progress", disk+"@"+id)
	l.MustRBD(site, "rm", "--no-progress", disk)
	return locationOf(l, site, id)
}

func locationOf(l *lab.Lab, site, id string) string {
	return "rbd://" + l.Ceph(site, "fsid") + "/images/" + id + "/snap"
}

func adopt(l *lab.Lab, id, url string, expected *hubv1.DataDigest) *hubv1.Operation {
	l.T.Helper()
	resp, err := l.Client.Images.AdoptLocation(l.T.Context(), &hubv1.AdoptLocationRequest{Id: id, Url: url, Expected: expected})
	if err != nil {
		l.T.Fatal(err)
	}
	return resp.Operation
}

// read waits until the digests of an adopted image are known.
func read(l *lab.Lab, id string) *hubv1.Image {
	l.T.Helper()
	lab.Eventually(l.T, 2*time.Minute, "the digests appear", func() error {
		if img := l.Image(id); img.ManifestDigest == "" || img.Checksum == "" || img.OsHashValue == "" {
			return fmt.Errorf("image: %v", img)
		}
		return nil
	})
	return l.Image(id)
}

// marked waits until the site has taken a copy over for good.
func marked(l *lab.Lab, site, id string) {
	l.T.Helper()
	lab.Eventually(l.T, waitShort, "the copy is marked", func() error {
		out, err := l.RBD(site, "image-meta", "get", "images/"+id, "atoll.content")
		if want := l.Image(id).ContentId; err != nil || out != want {
			return fmt.Errorf("%q, %w, want %q", out, err, want)
		}
		return nil
	})
}

// TestAdoptSnapshot adopts a snapshot of an instance at an edge site: it is an image at once, its digests follow, and it
// gets to the central site and from there to another one. The instance was started from an image of ours, so that all our
// marks of that one are on the snapshot too.
func TestAdoptSnapshot(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(96<<20, 24)
	base := l.Import(data, "central", "dcn0")
	id := l.Create("snapshot")
	url := snapshotInstance(l, "dcn0", base, id)
	sum := l.Sum("dcn0", id)
	if sum == l.Sum("dcn0", base) {
		t.Fatal("the snapshot does not differ from its image")
	}
	l.Succeeds(adopt(l, id, url, nil))
	img := l.Image(id)
	if img.Status != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE || img.SizeBytes != 96<<20 || !slices.Equal(img.Stores, []string{"dcn0"}) ||
		len(img.Locations) != 1 || img.Locations[0].Url != url {
		t.Fatalf("image %v", img)
	}
	_, err := l.Copy(id, lab.Select("dcn1"))
	mustFail(t, "copy to another edge first", err, "NOT_IN_CENTRAL")
	l.Succeeds(l.MustCopy(id, "central"))
	read(l, id)
	marked(l, "dcn0", id)
	l.Succeeds(l.MustCopy(id, "dcn1"))
	l.Stores(id, "central", "dcn0", "dcn1")
	for _, site := range lab.Sites {
		if got := l.Sum(site, id); got != sum {
			t.Errorf("%s holds %s, want %s", site, got, sum)
		}
	}
	// A clone keeps it, without one it goes everywhere; the image the instance came from stays.
	unclone := l.Clone("dcn0", id, "2")
	l.Fails(remove(l, id), "IN_USE")
	unclone()
	l.Succeeds(remove(l, id))
	for _, site := range lab.Sites {
		if l.Holds(site, id) {
			t.Errorf("left at %s: %v", site, l.Images(site))
		}
	}
	l.Stores(base, "central", "dcn0")
}

func remove(l *lab.Lab, id string) *hubv1.Operation {
	l.T.Helper()
	resp, err := l.Client.Images.DeleteImage(l.T.Context(), &hubv1.DeleteImageRequest{Id: id})
	if err != nil {
		l.T.Fatal(err)
	}
	return resp.Operation
}

// place writes data into a site's pool under an image's id, without any marks.
func place(l *lab.Lab, site, id string, data []byte) string {
	l.T.Helper()
	file := filepath.Join(l.Dir, id)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		l.T.Fatal(err)
	}
	l.MustRBD(site, "import", "--no-progress", "--image-format", "2", file, "images/"+id)
	l.MustRBD(site, "snap", "create", "--no-progress", "images/"+id+"@snap")
	l.MustRBD(site, "snap", "protect", "images/"+id+"@snap")
	return locationOf(l, site, id)
}

// TestAdoptExpected adopts copies of which the caller says what they hold. One that is something else, or is not there, is
// left as it was.
func TestAdoptExpected(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(40<<20, 8)
	sum := md5.Sum(data) //nolint:gosec // see the import
	digest := &hubv1.DataDigest{Algorithm: "md5", Value: hex.EncodeToString(sum[:])}
	id := l.Create("right")
	l.Succeeds(adopt(l, id, place(l, "dcn1", id, data), digest))
	if img := l.Image(id); img.Checksum != digest.Value || img.Status != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE {
		t.Errorf("image %v", img)
	}
	id = l.Create("wrong")
	url := place(l, "dcn1", id, data[:36<<20])
	l.Fails(adopt(l, id, url, digest), "DIGEST_MISMATCH")
	if img := l.Image(id); img.Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED || len(img.Stores) > 0 || img.Checksum != "" {
		t.Errorf("image %v", img)
	}
	if meta := l.MustRBD("dcn1", "image-meta", "ls", "images/"+id); strings.Contains(meta, "atoll") {
		t.Errorf("the refused copy was changed: %s", meta)
	}
	l.Succeeds(remove(l, id))
	if !l.Holds("dcn1", id) {
		t.Error("a copy that was refused is gone")
	}
	id = l.Create("nothing there")
	l.Fails(adopt(l, id, locationOf(l, "dcn1", id), nil), "COPY_NOT_FOUND")
	l.MustRBD("dcn1", "create", "--size", "8M", "images/"+id)
	l.Fails(adopt(l, id, locationOf(l, "dcn1", id), nil), "SNAPSHOT_MISSING")
	l.MustRBD("dcn1", "snap", "create", "--no-progress", "images/"+id+"@snap")
	l.Succeeds(adopt(l, id, locationOf(l, "dcn1", id), nil)) // protected by the agent
	if out := read(l, id); out.SizeBytes != 8<<20 {
		t.Errorf("image %v", out)
	}
	if out, err := l.RBD("dcn1", "snap", "rm", "images/"+id+"@snap"); err == nil {
		t.Errorf("its snapshot can be removed: %s", out)
	}
}

// TestAdoptSurvivesKills kills agent and hub while a big, mostly empty copy is being read.
func TestAdoptSurvivesKills(t *testing.T) {
	l := lab.New(t)
	r := seeded(t)
	id := l.Create("big")
	l.MustRBD("dcn0", "create", "--size", "3G", "images/"+id)
	l.MustRBD("dcn0", "bench", "--io-type", "write", "--io-size", "4194304", "--io-total", "134217728", "--io-pattern", "rand", "images/"+id)
	l.MustRBD("dcn0", "snap", "create", "--no-progress", "images/"+id+"@snap")
	l.MustRBD("dcn0", "snap", "protect", "images/"+id+"@snap")
	sum := l.Sum("dcn0", id)
	op := adopt(l, id, locationOf(l, "dcn0", id), nil)
	for range 3 {
		time.Sleep(time.Duration(r.IntN(2500)) * time.Millisecond) // the random moment itself
		l.Agents["dcn0"].Kill()
		l.StartAgent("dcn0")
		time.Sleep(time.Duration(r.IntN(2500)) * time.Millisecond)
		l.Hub.Kill()
		l.StartHub()
	}
	l.Succeeds(op)
	read(l, id)
	marked(l, "dcn0", id)
	l.Succeeds(l.MustCopy(id, "central"))
	if got := l.Sum("central", id); got != sum {
		t.Errorf("central holds %s, want %s", got, sum)
	}
}

// TestLostStaging takes the staging area away from a hub: manifests come back from the sites that hold copies, so that images
// can still be verified, copied and downloaded.
func TestLostStaging(t *testing.T) {
	l := lab.New(t)
	data, sum := lab.Data(48<<20, 24)
	id := l.Import(data, "central")
	l.Hub.Stop()
	if err := os.RemoveAll(filepath.Join(l.Dir, "hub", "staging")); err != nil {
		t.Fatal(err)
	}
	l.StartHub()
	l.Succeeds(l.MustCopy(id, "dcn0", "dcn1"))
	for _, site := range lab.Sites {
		if got := l.Sum(site, id); got != sum {
			t.Errorf("%s holds %s, want %s", site, got, sum)
		}
	}
}

// TestAdoptUnsafe adopts copies in which a program would see a disk with a file of the host behind it, or a disk of another
// format: rows 41 and 42 of the advisories. They are refused before anybody could start an instance from them, and left as they
// are; with what it is said to be in the same place, the image can still be had.
func TestAdoptUnsafe(t *testing.T) {
	l := lab.New(t)
	data, _ := lab.Data(8<<20, 4)
	header := func(backing bool) []byte {
		p := make([]byte, len(data))
		copy(p, "QFI\xfb\x00\x00\x00\x03")
		p[23], p[29] = 16, 0x40
		copy(p[100:], "\x00\x00\x00\x68")
		if backing {
			p[14], p[19] = 2, 11
			copy(p[512:], "/etc/passwd")
		}
		return p
	}
	for reason, content := range map[string][]byte{"FORMAT_UNSAFE": header(true), "FORMAT_MISMATCH": header(false)} {
		id := l.Create(reason)
		url := place(l, "dcn0", id, content)
		sum := l.Sum("dcn0", id)
		l.Fails(adopt(l, id, url, nil), reason)
		if img := l.Image(id); img.Status != hubv1.ImageStatus_IMAGE_STATUS_QUEUED || len(img.Locations) > 0 || img.Checksum != "" {
			t.Errorf("image %v", img)
		}
		if meta := l.MustRBD("dcn0", "image-meta", "ls", "images/"+id); strings.Contains(meta, "atoll") || l.Sum("dcn0", id) != sum {
			t.Errorf("the refused copy was changed: %s", meta)
		}
		l.MustRBD("dcn0", "snap", "unprotect", "images/"+id+"@snap")
		l.MustRBD("dcn0", "snap", "rm", "--no-progress", "images/"+id+"@snap")
		l.MustRBD("dcn0", "rm", "--no-progress", "images/"+id)
		l.Succeeds(adopt(l, id, place(l, "dcn0", id, data), nil))
	}
}
