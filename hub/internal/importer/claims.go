package importer

import (
	"encoding/hex"
	"hash"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// claim is something that is said of the data as it comes and that a digest of it proves or refutes.
type claim struct {
	algorithm string // "sha512" when the hash is that
	hash      hash.Hash
	check     func(digest []byte) error
}

// checksumClaim is the claim that data has a checksum.
func checksumClaim(sum image.Checksum) claim {
	return claim{algorithm: sum.Algorithm, hash: sum.Hash(), check: func(digest []byte) error {
		return sum.Check(hex.EncodeToString(digest))
	}}
}

// claimed returns what is said of the data of a source that has been opened: it may tell something itself.
func (f *flow) claimed() []claim {
	var out []claim
	if f.s.sum.Algorithm != "" {
		out = append(out, checksumClaim(f.s.sum))
	}
	if f.s.told != nil {
		if sum := f.s.told(); sum.Algorithm == "sha512" && sum != f.s.sum {
			out = append(out, checksumClaim(sum))
		}
	}
	if f.s.signature != nil {
		out = append(out, claim{hash: f.s.signature.NewHash(), check: f.verifySignature})
	}
	return out
}

// verify checks all claims. Nothing is published before.
func verify(claims []claim) error {
	for _, c := range claims {
		if err := c.check(c.hash.Sum(nil)); err != nil {
			return err
		}
	}
	return nil
}
