package unpack

import "testing"

func TestDetect(t *testing.T) {
	tests := map[string]struct {
		head string
		want Compression
	}{
		"nothing":                    {"", None},
		"gzip":                       {"\x1f\x8b\x08\x00", Gzip},
		"gzip with a name":           {"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03disk", Gzip},
		"gzip with reserved flags":   {"\x1f\x8b\x08\x20", None},
		"compress of old":            {"\x1f\x9d\x90\x00", None},
		"gzip cut":                   {"\x1f\x8b\x08", None},
		"xz":                         {"\xfd7zXZ\x00\x00\x04", XZ},
		"xz of another version":      {"\xfd7zXZ\x00\x01\x04", None},
		"lzma alone":                 {"\x5d\x00\x00\x80\x00", None},
		"zstd":                       {"\x28\xb5\x2f\xfd", Zstd},
		"zstd after skippable":       {"\x50\x2a\x4d\x18\x04\x00\x00\x00skip\x28\xb5\x2f\xfd", Zstd},
		"skippable before something": {"\x50\x2a\x4d\x18\x04\x00\x00\x00skipdisk", None},
		"long skippable":             {"\x5f\x2a\x4d\x18\xff\xff\xff\xff\x28\xb5\x2f\xfd", None},
		"bzip2":                      {"BZh91AY&SY", Bzip2},
		"bzip2 of nothing":           {"BZh9\x17\x72\x45\x38\x50\x90", Bzip2},
		"text like bzip2":            {"BZh9 is a name", None},
		"bzip2 without blocks":       {"BZh01AY&SY", None},
		"qcow2":                      {"QFI\xfb\x00\x00\x00\x03", None},
		"zip":                        {"PK\x03\x04", None},
	}
	for name, tt := range tests {
		if got := Detect([]byte(tt.head)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
