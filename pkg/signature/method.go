package signature

import (
	"crypto"
	"crypto/elliptic"
	_ "crypto/sha256" // SHA-224 and SHA-256
	_ "crypto/sha512" // SHA-384 and SHA-512
	"hash"
	"slices"
	"strings"
)

// HashMethod is the name of a hash, as img_signature_hash_method has it.
type HashMethod string

// The hashes.
const (
	SHA224 HashMethod = "SHA-224"
	SHA256 HashMethod = "SHA-256"
	SHA384 HashMethod = "SHA-384"
	SHA512 HashMethod = "SHA-512"
)

// HashMethods are all hashes, the usual one first.
var HashMethods = []HashMethod{SHA256, SHA384, SHA512, SHA224}

var hashes = map[HashMethod]crypto.Hash{SHA224: crypto.SHA224, SHA256: crypto.SHA256, SHA384: crypto.SHA384, SHA512: crypto.SHA512}

// ParseHashMethod returns the method of a name, ReasonUnsupported (Invalid) for others.
func ParseHashMethod(name string) (HashMethod, error) {
	if m := HashMethod(name); slices.Contains(HashMethods, m) {
		return m, nil
	}
	return "", refuse(PropertyHash, ReasonUnsupported, "%s is not supported; use %s", quote(name), list(HashMethods))
}

// New returns a hash of the method.
func (m HashMethod) New() hash.Hash { return hashes[m].New() }

// KeyType is the name of a kind of key, as img_signature_key_type has it.
type KeyType string

// The types of keys. OpenStack's own verification knows all but SECP256R1.
const (
	RSAPSS    KeyType = "RSA-PSS"
	SECP256R1 KeyType = "ECC_SECP256R1"
	SECP384R1 KeyType = "ECC_SECP384R1"
	SECP521R1 KeyType = "ECC_SECP521R1"
)

// KeyTypes are all types of keys.
var KeyTypes = []KeyType{RSAPSS, SECP256R1, SECP384R1, SECP521R1}

// outdated are types that OpenStack names too, which nobody should use any more: DSA is withdrawn (FIPS 186-5), and so are
// the curves over binary fields (SP 800-186).
var outdated = []string{"DSA", "ECC_SECT571K1", "ECC_SECT409K1", "ECC_SECT571R1", "ECC_SECT409R1"}

var curves = map[KeyType]elliptic.Curve{SECP256R1: elliptic.P256(), SECP384R1: elliptic.P384(), SECP521R1: elliptic.P521()}

// ParseKeyType returns the type of a name, ReasonUnsupported (Invalid) for others.
func ParseKeyType(name string) (KeyType, error) {
	if t := KeyType(name); slices.Contains(KeyTypes, t) {
		return t, nil
	}
	if slices.Contains(outdated, name) {
		return "", refuse(PropertyKey, ReasonUnsupported, "%s is outdated and not verified; use %s", name, list(KeyTypes))
	}
	return "", refuse(PropertyKey, ReasonUnsupported, "%s is not supported; use %s", quote(name), list(KeyTypes))
}

func list[T ~string](names []T) string {
	var all []string
	for _, n := range names {
		all = append(all, string(n))
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// quote returns a value of a user for an error.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(`"`+s+`"`, "?")
}
