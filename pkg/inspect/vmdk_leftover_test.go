package inspect

import "testing"

// qemu-img leaves the last bytes of an older descriptor behind a shorter one, one disk in two hundred and fifty; nothing else may
// be there.
func TestVMDKLeftover(t *testing.T) {
	t.Parallel()
	text := descriptorText
	for tail, safe := range map[string]bool{
		"": true, text[len(text)-1:]: true, text[len(text)-7:]: true, text[len(text)-8:]: false, "x": false, "RW 1 FL": false,
	} {
		var in Inspector
		_, _ = in.Write(vmdkImage(text+"\x00"+tail, false))
		if f := in.Finish(); (f.Unsafe == "") != safe {
			t.Errorf("behind the end %q: %q", tail, f.Unsafe)
		}
	}
}
