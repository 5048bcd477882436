package image

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestChecksum(t *testing.T) {
	const sha256OfX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	for text, ok := range map[string]bool{
		"": true, "sha256:" + sha256OfX: true, "SHA256:" + strings.ToUpper(sha256OfX): true, "sha512:" + sha256OfX + sha256OfX: true,
		"sha256": false, "sha256:": false, sha256OfX: false, "md5:d41d8cd98f00b204e9800998ecf8427e": false,
		"sha512:" + sha256OfX: false, "sha256:" + sha256OfX[1:]: false, "sha256:g" + sha256OfX[1:]: false, "sha256: " + sha256OfX: false,
	} {
		c, err := ParseChecksum("checksum", text)
		if ok != (err == nil) || ok && c.String() != strings.ToLower(text) || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, %v", text, c, err)
		}
	}
	c, err := ParseChecksum("checksum", "sha256:"+sha256OfX)
	if err != nil {
		t.Fatal(err)
	}
	h := c.Hash()
	_, _ = h.Write([]byte("x"))
	if err := c.Check(hex.EncodeToString(h.Sum(nil))); err != nil {
		t.Error(err)
	}
	if err := c.Check(strings.Repeat("0", 64)); fault.ReasonOf(err) != "CHECKSUM_MISMATCH" {
		t.Errorf("got %v", err)
	}
	if (Checksum{}).Check("anything") != nil || (Checksum{}).Hash() != nil {
		t.Error("no checksum expects something")
	}
}
