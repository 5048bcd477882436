package lab

import "testing"

// Anyone returns somebody who uses the Image API of a lab without Keystone, whose hub asks nobody who he is.
func (l *Lab) Anyone() *Actor {
	base := "http://" + l.image
	// The command of OpenStack asks no Keystone when it has a token, but keeps what it caches by the address of one.
	env := map[string]string{"OS_IMAGE_URL": base, "OS_AUTH_TOKEN": "none", "OS_AUTH_URL": "http://keystone.invalid"}
	return &Actor{T: l.T, Name: "anyone", Env: env, home: l.T.TempDir(), base: base}
}

// In returns the same lab for a test within the test that owns it.
func (l *Lab) In(t *testing.T) *Lab {
	b := *l
	b.T = t
	return &b
}
