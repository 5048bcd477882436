package image

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Checksum is what data is expected to hash to. The zero value expects nothing.
type Checksum struct {
	Algorithm string // sha256 or sha512
	Digest    string // in lower-case hex
}

// ParseChecksum reads a checksum such as "sha256:9f86d081...". An empty text yields the zero value. The error is Invalid and
// names the field.
func ParseChecksum(field, text string) (Checksum, error) {
	if text == "" {
		return Checksum{}, nil
	}
	algorithm, digest, _ := strings.Cut(text, ":")
	c := Checksum{Algorithm: strings.ToLower(algorithm), Digest: strings.ToLower(digest)}
	var size int
	switch c.Algorithm {
	case "sha256":
		size = sha256.Size
	case "sha512":
		size = sha512.Size
	default:
		return Checksum{}, fault.BadField(field, "must begin with sha256: or sha512:")
	}
	if raw, err := hex.DecodeString(c.Digest); err != nil || len(raw) != size {
		return Checksum{}, fault.BadField(field, "%s needs %d hex digits", c.Algorithm, 2*size)
	}
	return c, nil
}

// String returns the form that ParseChecksum reads; empty for the zero value.
func (c Checksum) String() string {
	if c.Algorithm == "" {
		return ""
	}
	return c.Algorithm + ":" + c.Digest
}

// Hash returns a new hash of the algorithm, nil for the zero value.
func (c Checksum) Hash() hash.Hash {
	switch c.Algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	default:
		return nil
	}
}

// Check compares a digest in hex with the expected one. The error, CHECKSUM_MISMATCH (Invalid), names both. The zero value
// accepts everything.
func (c Checksum) Check(digest string) error {
	if c.Algorithm == "" || digest == c.Digest {
		return nil
	}
	return fault.New(fault.Invalid, "CHECKSUM_MISMATCH", "the data has %s %s, not %s as was asked for", c.Algorithm, digest, c.Digest)
}
