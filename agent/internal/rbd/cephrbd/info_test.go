//go:build cgo

package cephrbd

import "testing"

func TestCapacity(t *testing.T) {
	pool := func(stats string) string { return `{"pools":[{"id":1,"stats":{}},{"id":3,"stats":{` + stats + `}}]}` }
	for _, c := range []struct {
		name, reply string
		total, free int64
	}{
		{"no manager", `{"stats":{"total_bytes":0},"pools":[]}`, 0, 0},
		{"not JSON", `oops`, 0, 0},
		{"other pools only", `{"pools":[{"id":1,"stats":{"stored":5,"max_avail":5}}]}`, 0, 0},
		{"plain", pool(`"stored":100,"max_avail":900,"quota_bytes":0`), 1000, 900},
		{"quota", pool(`"stored":100,"max_avail":900,"quota_bytes":300`), 300, 200},
		{"quota exceeded", pool(`"stored":400,"max_avail":900,"quota_bytes":300`), 300, 0},
		{"quota above the capacity", pool(`"stored":100,"max_avail":900,"quota_bytes":5000`), 1000, 900},
	} {
		if total, free := capacity([]byte(c.reply), 3); total != c.total || free != c.free {
			t.Errorf("%s: %d and %d, want %d and %d", c.name, total, free, c.total, c.free)
		}
	}
}

func TestDecodeString(t *testing.T) {
	for _, c := range []struct {
		in, want string
		bad      bool
	}{
		{in: "\x03\x00\x00\x00abc", want: "abc"},
		{in: "\x00\x00\x00\x00"},
		{in: "\x02\x00\x00\x00abc", want: "ab"},
		{in: "", bad: true},
		{in: "\x00\x00", bad: true},
		{in: "\x04\x00\x00\x00abc", bad: true},
		{in: "\xff\xff\xff\xffabc", bad: true},
	} {
		got, err := decodeString([]byte(c.in))
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("%q: %q, %v", c.in, got, err)
		}
	}
}
