package image

import (
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	var all Formats
	if got := strings.Join(all.Disk(), " "); got != "ami ari aki vhd vhdx vmdk raw qcow2 vdi iso ploop" {
		t.Error(got)
	}
	if got := strings.Join(all.Container(), " "); got != "ami ari aki bare ovf ova docker compressed" {
		t.Error(got)
	}
	some, err := ParseFormats([]string{"raw", "gpt", "raw"}, nil)
	if err != nil || !slices.Equal(some.Disk(), []string{"raw", "gpt"}) || !slices.Equal(some.Container(), all.Container()) {
		t.Errorf("got %v, %v", some, err)
	}
	for format, want := range map[string]bool{"raw": true, "gpt": true, "": true, "qcow2": false, "RAW": false, "bare": false} {
		err := some.CheckDisk("disk_format", format)
		if (err == nil) != want || err != nil && (fault.ReasonOf(err) != "INVALID_FIELD" || !strings.Contains(err.Error(), "one of raw, gpt")) {
			t.Errorf("%q: %v", format, err)
		}
	}
	if all.CheckDisk("", "gpt") == nil || all.CheckContainer("", "bare") != nil || all.CheckContainer("", "raw") == nil {
		t.Error("what is accepted without being told is wrong")
	}
}

func TestParseFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		disk, container []string
		names           string
	}{
		{[]string{"floppy"}, nil, "disk-formats"},
		{[]string{"raw", ""}, nil, "disk-formats"},
		{[]string{}, nil, "disk-formats"},
		{nil, []string{"bare", "gpt"}, "container-formats"},
		{nil, []string{}, "container-formats"},
	} {
		if _, err := ParseFormats(c.disk, c.container); err == nil || !strings.HasPrefix(err.Error(), c.names) {
			t.Errorf("%q, %q: %v", c.disk, c.container, err)
		}
	}
}
