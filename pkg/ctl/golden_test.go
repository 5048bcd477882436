package ctl

import (
	"strings"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func TestGolden(t *testing.T) {
	h := furnish(t)
	op := "00000000-0000-4000-8000-000000000001"
	for name, args := range map[string]string{
		"help.txt":                "--help",
		"help_import.txt":         "image import --help",
		"exit_codes.txt":          "help exit-codes",
		"help_create.txt":         "image create --help",
		"help_member.txt":         "image member --help",
		"help_sign.txt":           "image sign --help",
		"help_verify.txt":         "image verify --help",
		"image_list.txt":          "image list",
		"image_list_public.txt":   "image list --visibility public --status active",
		"image_show_public.txt":   "image show wide",
		"image_list.json":         "image list -o json --name debian-12",
		"image_list_empty.json":   "image list -o json --name nothing",
		"image_show.txt":          "image show debian-12",
		"image_show.json":         "image show debian-12 -o json",
		"image_show.yaml":         "image show debian-12 -o yaml",
		"replica_list.txt":        "replica list",
		"replica_list_store.json": "replica list --store dcn1 -o json",
		"replica_show.txt":        "replica show debian-12 central",
		"replica_show_failed.txt": "replica show " + strings.ToUpper(debian) + " dcn1",
		"operation_list.txt":      "operation list",
		"operation_running.txt":   "operation list --running --image debian-12",
		"operation_show.txt":      "operation show " + op,
		"operation_show.json":     "operation show -o json " + op,
		"site_list.txt":           "site list",
		"site_show.txt":           "site show dcn1",
		"site_show_connected.txt": "site show dcn0",
		"store_list.txt":          "store list",
		"limit_show.txt":          "limit show",
		"help_limit.txt":          "limit set --help",
		"store_list.yaml":         "store list -o yaml",
		"store_show.txt":          "store show central",
	} {
		t.Run(name, func(t *testing.T) {
			r := atollctl(t, h, exitOK, strings.Fields(args)...)
			golden(t, name, strings.ReplaceAll(r.out.String(), h.Addr, "127.0.0.1:9393"))
			if r.err.String() != "" {
				t.Errorf("standard error: %s", &r.err)
			}
			if strings.HasSuffix(name, ".txt") && strings.ContainsAny(r.out.String(), "\x1b\t") {
				t.Error("control characters in a table")
			}
		})
	}
}

func TestSiteVerbs(t *testing.T) {
	h := furnish(t)
	r := atollctl(t, h, exitOK, "site", "create", "dcn7", "--description", "far away")
	if r.out.String() != "atoll1.token\n" {
		t.Errorf("standard output is not the token alone: %q", &r.out)
	}
	has(t, r.err.String(), "dcn7", "atoll-agent join", "2026-09-01 13:00:00 UTC")
	if h.Sites["dcn7"].GetDescription() != "far away" {
		t.Errorf("site %v", h.Sites["dcn7"])
	}
	has(t, atollctl(t, h, exitOK, "site", "create", "dcn8", "-o", "json").out.String(), `"join_token": "atoll1.token"`)
	r = atollctl(t, h, exitUsage, "site", "create", "Bad Name")
	has(t, r.err.String(), "site.id: ", "[INVALID_FIELD]")
	atollctl(t, h, exitConflict, "site", "create", "dcn7")
	has(t, atollctl(t, h, exitOK, "site", "update", "dcn7", "--description", "near").out.String(), "near")
	atollctl(t, h, exitUsage, "site", "update", "dcn7")
	has(t, atollctl(t, h, exitOK, "site", "token", "dcn7").out.String(), "atoll1.another")
	has(t, atollctl(t, h, exitOK, "site", "token", "dcn7", "-o", "yaml").out.String(), "join_token: atoll1.another")
	has(t, atollctl(t, h, exitOK, "site", "revoke", "dcn7").out.String(), "certificates revoked: 2")
	has(t, atollctl(t, h, exitOK, "site", "revoke", "dcn7", "-o", "json").out.String(), `"revoked": 2`)
	has(t, atollctl(t, h, exitOK, "site", "delete", "dcn7").out.String(), "site dcn7 deleted")
	has(t, atollctl(t, h, exitOK, "site", "delete", "dcn8", "-o", "json").out.String(), `"dropped_copies": 0`)
	atollctl(t, h, exitOK, "site", "create", "dcn9")
	r = atollctl(t, h, exitOK, "site", "delete", "dcn9", "--force")
	has(t, r.out.String(), "site dcn9 deleted, copies dropped: 3")
	atollctl(t, h, exitNotFound, "site", "delete", "dcn7")
}

func TestCopyPriority(t *testing.T) {
	h := furnish(t)
	has(t, atollctl(t, h, exitUsage, "image", "copy", "debian-12", "--stores", "dcn0", "--priority", "urgent").err.String(), "--priority", "urgent")
	h.Replicas[debian+"/dcn0"].Priority = hubv1.Priority_PRIORITY_HIGH
	has(t, atollctl(t, h, exitOK, "replica", "show", "debian-12", "dcn0").out.String(), "priority", "high")
	has(t, atollctl(t, h, exitOK, "replica", "list", "--store", "dcn0").out.String(), "transferring   high ")
	h.Replicas[debian+"/dcn0"].AwaitedTime = clienttest.Ago(time.Minute)
	has(t, atollctl(t, h, exitOK, "replica", "show", "debian-12", "dcn0").out.String(), "awaited since", "1m ago")
	has(t, atollctl(t, h, exitOK, "replica", "list", "--store", "dcn0").out.String(), "transferring   awaited ")
	for text, want := range map[string]hubv1.Priority{
		"low": hubv1.Priority_PRIORITY_LOW, "normal": hubv1.Priority_PRIORITY_NORMAL, "high": hubv1.Priority_PRIORITY_HIGH,
	} {
		if got, err := parsePriority(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestSiteLimits(t *testing.T) {
	h := furnish(t)
	window := "Mon-Fri 08:00-18:00 Europe/Berlin=1MiB/s"
	r := atollctl(t, h, exitOK, "site", "limit", "dcn0", "--rate", "20MiB/s", "--window", window, "--window", "daily 00:00-01:00=0")
	has(t, r.out.String(), "20MiB/s", window, "daily 00:00-01:00=0")
	if l := h.Sites["dcn0"].GetLimits(); l.GetBytesPerSecond() != 20<<20 || len(l.GetWindows()) != 2 {
		t.Errorf("limits %v", l)
	}
	has(t, atollctl(t, h, exitOK, "site", "list").out.String(), "20MiB/s", "unlimited")
	atollctl(t, h, exitOK, "site", "limit", "dcn0", "--clear")
	if l := h.Sites["dcn0"].GetLimits(); l.BytesPerSecond != nil || len(l.GetWindows()) != 0 {
		t.Errorf("limits %v", l)
	}
	has(t, atollctl(t, h, exitUsage, "site", "limit", "dcn0").err.String(), "--rate")
	has(t, atollctl(t, h, exitUsage, "site", "limit", "dcn0", "--rate", "fast").err.String(), "--rate", "fast")
	atollctl(t, h, exitUsage, "site", "limit", "dcn0", "--clear", "--rate", "0")
	has(t, atollctl(t, h, exitOK, "site", "limit", "dcn0", "--parallel", "2").out.String(), "copies at once", "2")
	if n := h.Sites["dcn0"].GetLimits().ParallelTransfers; n == nil || *n != 2 {
		t.Errorf("limits %v", h.Sites["dcn0"].GetLimits())
	}
	atollctl(t, h, exitOK, "site", "limit", "dcn0", "--parallel", "default")
	if l := h.Sites["dcn0"].GetLimits(); l.ParallelTransfers != nil {
		t.Errorf("limits %v", l)
	}
	has(t, atollctl(t, h, exitUsage, "site", "limit", "dcn0", "--parallel", "many").err.String(), "--parallel", "many")
	atollctl(t, h, exitNotFound, "site", "limit", "dcn99", "--clear")
	has(t, atollctl(t, h, exitOK, "site", "pause", "dcn0").out.String(), "paused since", "limit now", "paused")
	has(t, atollctl(t, h, exitOK, "site", "resume", "dcn0").out.String(), "unlimited")
	if h.Sites["dcn0"].GetPauseTime() != nil {
		t.Error("still paused")
	}
}

func TestImageUpdate(t *testing.T) {
	h := furnish(t)
	img := h.Images[debian]
	atollctl(t, h, exitOK, "image", "update", "debian-12", "--name", "old", "--protected")
	if img.GetName() != "old" || !img.GetProtected() || len(img.GetProperties()) != 2 {
		t.Errorf("after name and protected: %v", img)
	}
	r := atollctl(t, h, exitOK, "image", "update", debian, "--protected=false", "--property", "a=b=c", "--remove-property", "os_distro", "-o", "json")
	has(t, r.out.String(), `"a": "b=c"`, `"hw_disk_bus": "virtio"`, `"protected": false`)
	if strings.Contains(r.out.String(), "os_distro") {
		t.Error("property was not removed")
	}
	atollctl(t, h, exitUsage, "image", "update", debian)
	has(t, atollctl(t, h, exitUsage, "image", "update", debian, "--property", "=x").err.String(), "--property", "KEY=VALUE")
}

func TestPropertiesOfALostRaceAreMergedAgain(t *testing.T) {
	h := furnish(t)
	h.Fail("UpdateImage", conflict())
	h.Fail("UpdateImage", conflict())
	atollctl(t, h, exitOK, "image", "update", debian, "--property", "a=b")
	if got := h.Images[debian].GetProperties(); got["a"] != "b" || got["os_distro"] != "debian" {
		t.Errorf("properties %v", got)
	}
	for range mostUpdates {
		h.Fail("UpdateImage", conflict())
	}
	atollctl(t, h, exitConflict, "image", "update", debian, "--property", "a=b")
	h.Fail("UpdateImage", conflict())
	atollctl(t, h, exitConflict, "image", "update", debian, "--name", "n")
}
