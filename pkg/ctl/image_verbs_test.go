package ctl

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func TestImageCreate(t *testing.T) {
	h := clienttest.Start(t)
	atollctl(t, h, exitOK, "image", "create", "--id", strings.ToUpper(debian), "--name", "n", "--owner", "p-b", "--visibility", "public", "--hidden",
		"--protected", "--min-disk", "10", "--min-ram", "512", "--disk-format", "qcow2", "--tag", "a", "--tag", "b", "--property", "k=v")
	img := h.Images[debian]
	if img.GetName() != "n" || img.GetOwner() != "p-b" || img.GetVisibility() != hubv1.Visibility_VISIBILITY_PUBLIC || !img.GetHidden() ||
		!img.GetProtected() || img.GetMinDiskGb() != 10 || img.GetMinRamMb() != 512 || img.GetDiskFormat() != "qcow2" ||
		img.GetContainerFormat() != "bare" || !slices.Equal(img.GetTags(), []string{"a", "b"}) || img.GetProperties()["k"] != "v" {
		t.Errorf("created %v", img)
	}
	if out := atollctl(t, h, exitOK, "image", "list").out.String(); strings.Contains(out, debian) {
		t.Error("a hidden image is listed")
	}
	has(t, atollctl(t, h, exitOK, "image", "list", "--hidden", "--owner", "p-b", "--tag", "a").out.String(), debian)
	has(t, atollctl(t, h, exitOK, "image", "show", "n").out.String(), "hidden         yes")
	for args, says := range map[string]string{
		"--visibility secret": "--visibility", "--id x": "--id", "--property x": "--property", "--min-disk -1": "--min-disk",
	} {
		has(t, atollctl(t, h, exitUsage, append([]string{"image", "create"}, strings.Fields(args)...)...).err.String(), says)
	}
	for _, args := range []string{"--visibility secret", "--status broken", "--member-status maybe"} {
		atollctl(t, h, exitUsage, append([]string{"image", "list"}, strings.Fields(args)...)...)
	}
}

func TestImageUpdateFields(t *testing.T) {
	h := furnish(t)
	atollctl(t, h, exitOK, "image", "update", debian, "--owner", "p-b", "--visibility", "community", "--hidden", "--min-disk", "0", "--min-ram", "64")
	img := h.Images[debian]
	if img.GetOwner() != "p-b" || img.GetVisibility() != hubv1.Visibility_VISIBILITY_COMMUNITY || !img.GetHidden() || img.GetMinDiskGb() != 0 ||
		img.GetMinRamMb() != 64 || img.GetName() != "debian-12" || img.GetDiskFormat() != "raw" || len(img.GetTags()) != 2 {
		t.Errorf("after the update: %v", img)
	}
	atollctl(t, h, exitOK, "image", "update", debian, "--disk-format", "iso", "--hidden=false")
	if img.GetDiskFormat() != "iso" || img.GetContainerFormat() != "bare" || img.GetHidden() {
		t.Errorf("after the second update: %v", img)
	}
}

func TestTags(t *testing.T) {
	h := furnish(t)
	stale := fault.New(fault.Precondition, "STALE_ETAG", "the image has changed since it was read")
	h.Fail("UpdateImage", stale)
	atollctl(t, h, exitOK, "image", "tag", "add", "debian-12", "new", "golden", "new")
	if got := h.Images[debian].GetTags(); !slices.Equal(got, []string{"golden", "lts", "new"}) {
		t.Errorf("tags %v", got)
	}
	atollctl(t, h, exitOK, "image", "tag", "remove", "debian-12", "golden", "lts", "new")
	if got := h.Images[debian].GetTags(); len(got) != 0 {
		t.Errorf("tags %v", got)
	}
	has(t, atollctl(t, h, exitNotFound, "image", "tag", "remove", "debian-12", "golden").err.String(), "TAG_NOT_FOUND")
	atollctl(t, h, exitUsage, "image", "tag", "add", "debian-12")
}

func TestMembers(t *testing.T) {
	h := furnish(t)
	has(t, atollctl(t, h, exitOK, "image", "member", "add", "debian-12", clienttest.Project).out.String(), "status   pending")
	atollctl(t, h, exitOK, "image", "member", "add", "debian-12", "p-other")
	atollctl(t, h, exitConflict, "image", "member", "add", "debian-12", "p-other")
	has(t, atollctl(t, h, exitOK, "image", "member", "accept", debian).out.String(), "status    accepted")
	has(t, atollctl(t, h, exitOK, "image", "member", "reject", debian, "--project", "p-other", "-o", "json").out.String(), "MEMBER_STATUS_REJECTED")
	out := atollctl(t, h, exitOK, "image", "member", "list", "debian-12").out.String()
	has(t, out, clienttest.Project+"     accepted", "p-other   rejected")
	has(t, atollctl(t, h, exitOK, "image", "member", "remove", "debian-12", "p-other").out.String(), "no longer shared with p-other")
	atollctl(t, h, exitNotFound, "image", "member", "remove", "debian-12", "p-other")
	if got := h.Members[debian]; len(got) != 1 || got[0].GetStatus() != hubv1.MemberStatus_MEMBER_STATUS_ACCEPTED {
		t.Errorf("members %v", got)
	}
}

func TestDeactivate(t *testing.T) {
	h := furnish(t)
	has(t, atollctl(t, h, exitOK, "image", "deactivate", "debian-12").out.String(), "status         deactivated")
	has(t, atollctl(t, h, exitOK, "image", "reactivate", "debian-12").out.String(), "status         active")
	has(t, atollctl(t, h, exitFailed, "image", "deactivate", alpine).err.String(), "NOT_ACTIVE")
}

func TestStageAndImport(t *testing.T) {
	h := clienttest.Start(t)
	path, data := disk(t)
	h.Images[debian] = &hubv1.Image{Id: debian, Name: "n", Status: hubv1.ImageStatus_IMAGE_STATUS_QUEUED, DiskFormat: "raw", ContainerFormat: "bare"}
	atollctl(t, h, exitConflict, "image", "import", "--staged", "n")
	r := atollctl(t, h, exitOK, "image", "stage", "n", path)
	has(t, r.out.String(), "status         uploading")
	has(t, r.err.String(), "image import --staged "+debian)
	if len(h.Data[debian]) != len(data) {
		t.Errorf("staged %d bytes", len(h.Data[debian]))
	}
	atollctl(t, h, exitConflict, "image", "stage", "n", path)
	atollctl(t, h, exitUsage, "image", "stage", "n", "http://x/y")
	for _, flags := range []string{"--name m", "--id " + debian, "--tag t", "--visibility public"} {
		atollctl(t, h, exitUsage, append([]string{"image", "import", "--staged", "n"}, strings.Fields(flags)...)...)
	}
	h.Script(clienttest.Step{Do: func(op *hubv1.Operation) {
		for _, s := range op.GetStores() {
			clienttest.FailStore(s.GetStoreId(), "NO_SPACE", "the pool is full")(op)
		}
		clienttest.FailAll(8, "NO_SPACE", "the pool is full")(op)
	}})
	r = atollctl(t, h, exitFailed, "image", "import", "--staged", "n", "--all-stores")
	has(t, r.err.String(), "the data is still staged; repeat with: atollctl image import --staged "+debian)
	h.Script()
	r = atollctl(t, h, exitOK, "image", "import", "--staged", "n", "--all-stores")
	has(t, r.out.String(), "status         active", "rbd://f-dcn1/images/"+debian+"/snap")
}

func TestInterruptAbortsStaging(t *testing.T) {
	h := clienttest.Start(t)
	h.Images[debian] = &hubv1.Image{Id: debian, Name: "n", Status: hubv1.ImageStatus_IMAGE_STATUS_QUEUED, DiskFormat: "raw"}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	r := &run{stdin: endless{func() {
		if n++; n == 12 {
			cancel()
		}
	}}}
	if code := r.do(ctx, h.Addr, "image", "stage", "n", "-"); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	has(t, r.err.String(), "the data was not staged")
	h.Await(t, "the end of the upload", func() bool { return h.Aborted[debian] })
}

func TestAdopt(t *testing.T) {
	h := clienttest.Start(t)
	h.Images[debian] = &hubv1.Image{Id: debian, Name: "n", Status: hubv1.ImageStatus_IMAGE_STATUS_QUEUED}
	url := "rbd://f-dcn0/images/" + debian + "/snap"
	atollctl(t, h, exitUsage, "image", "adopt", "n", "rbd://f-dcn0/vms/"+debian+"/snap")
	atollctl(t, h, exitUsage, "image", "adopt", "n", url, "--digest", "abc")
	r := atollctl(t, h, exitOK, "image", "adopt", "n", url, "--digest", "sha512:abc")
	has(t, r.out.String(), "status         active", url)
	if got := h.Adopted[debian].GetExpected(); got.GetAlgorithm() != "sha512" || got.GetValue() != "abc" {
		t.Errorf("expected %v", got)
	}
}
