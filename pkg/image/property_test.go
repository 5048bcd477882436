package image

import "testing"

func TestDerived(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"atoll_signature": true, "atoll_anything": true, "atoll_": true, PropertyBase: false, "os_distro": false, "Atoll_x": false, "": false,
	} {
		if Derived(name) != want {
			t.Errorf("%q is derived: %v", name, !want)
		}
	}
}
