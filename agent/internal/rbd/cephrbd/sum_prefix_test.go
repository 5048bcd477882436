//go:build cgo && ceph_preview

package cephrbd

import "testing"

func TestWholePrefix(t *testing.T) {
	for _, test := range []struct {
		said, id string
		pool     int64
		want     string
	}{
		{"rbd_data.10c5d2ae8944a", "10c5d2ae8944a", 2, "rbd_data.10c5d2ae8944a"},
		{"rbd_data.2.10c5d2ae8944", "10c5d2ae8944a", 2, "rbd_data.2.10c5d2ae8944a"},
		{"rbd_data.117.10c5d2ae89", "10c5d2ae8944a", 117, "rbd_data.117.10c5d2ae8944a"},
		{"rbd_data.3.10c5d2ae8944", "10c5d2ae8944a", 2, ""}, // of a pool that is not ours
		{"rb.0.1234.238e1f29", "10c5d2ae8944a", 2, ""},      // of format 1
	} {
		if got, ok := wholePrefix(test.said, test.id, test.pool); got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %v; want %q", test.said, got, ok, test.want)
		}
	}
}
