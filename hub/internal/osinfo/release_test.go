package osinfo

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRelease(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"debian":             {debian, "debian 12"},
		"ubuntu":             {"NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n", "ubuntu 24.04"},
		"fedora":             {"ID=fedora\nVERSION_ID=43\nVARIANT_ID=cloud\n", "fedora 43"},
		"centos":             {"ID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"9\"\n", "centos 9"},
		"rhel":               {"ID=\"rhel\"\nVERSION_ID=\"9.4\"\nPLATFORM_ID=\"platform:el9\"\n", "rhel 9.4"},
		"rocky":              {"ID=\"rocky\"\nVERSION_ID=\"9.4\"\n", "rocky 9.4"},
		"sles":               {"ID=\"sles\"\nVERSION_ID=\"15.6\"\n", "sles 15.6"},
		"sles for SAP":       {"ID=\"sles_sap\"\nVERSION_ID=\"15.6\"\n", "sles 15.6"},
		"opensuse":           {"ID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"\n", "opensuse 15.6"},
		"alpine":             {"ID=alpine\nVERSION_ID=3.22.1\n", "alpinelinux 3.22.1"},
		"arch":               {"ID=arch\nBUILD_ID=rolling\n", "arch"},
		"not known":          {"ID=my_own.linux-2\nVERSION_ID=1\n", "my_own.linux-2 1"},
		"no version":         {"ID=debian\n", "debian"},
		"empty version":      {"ID=debian\nVERSION_ID=\"\"\n", "debian"},
		"single quotes":      {"ID='debian'\nVERSION_ID='12'\n", "debian 12"},
		"no end of line":     {"ID=debian\nVERSION_ID=12", "debian 12"},
		"carriage returns":   {"ID=debian\r\nVERSION_ID=12\r\n", "debian 12"},
		"comments and noise": {"# ID=fedora\n\n  ID=debian\nnoise\n=x\nOLD_ID=arch\n", "debian"},
		"said twice":         {"ID=debian\nID=\"debian\"\n", "debian"},
		"longest":            {"ID=" + strings.Repeat("a", 64), strings.Repeat("a", 64)},

		"nothing":          {"", ""},
		"no ID":            {"NAME=Debian\nVERSION_ID=12\n", ""},
		"empty ID":         {"ID=\n", ""},
		"contradiction":    {"ID=debian\nID=fedora\n", ""},
		"two versions":     {"ID=debian\nVERSION_ID=11\nVERSION_ID=12\n", ""},
		"upper case":       {"ID=Debian\n", ""},
		"too long":         {"ID=" + strings.Repeat("a", 65), ""},
		"bad version":      {"ID=debian\nVERSION_ID=\"12 (bookworm)\"\n", ""},
		"version injected": {"ID=debian\nVERSION_ID='12<script>'\n", ""},
		"substitution":     {"ID=$(id)\n", ""},
		"variable":         {"A=debian\nID=$A\n", ""},
		"escape":           {"ID=\"deb\\ian\"\n", ""},
		"open quote":       {"ID=\"debian\n", ""},
		"one quote":        {"ID=\"\n", ""},
		"wrong quote":      {"ID=\"debian'\n", ""},
		"joined quotes":    {"ID=\"deb\"\"ian\"\n", ""},
		"comment behind":   {"ID=debian # comment\n", ""},
		"no text":          {"ID=debian\n\xff\xfe\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := parseRelease([]byte(tt.text))
			if got := strings.TrimSpace(r.distro + " " + r.version); got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if err != nil && !errors.Is(err, errUnsure) && !errors.Is(err, errNotFound) {
				t.Errorf("error %v", err)
			}
		})
	}
}
