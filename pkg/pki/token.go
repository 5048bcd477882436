package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// tokenPrefix marks a join token and its version.
const tokenPrefix = "atoll1."

// secretBytes is the entropy of a join token.
const secretBytes = 32

// JoinToken is what a new agent needs to get its first certificate.
type JoinToken struct {
	Site        image.SiteID
	Secret      string // hex
	Fingerprint string // of the hub's CA, so that the secret is shown to nobody else
}

// NewJoinToken returns a token with a fresh secret.
func NewJoinToken(site image.SiteID, fingerprint string) JoinToken {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return JoinToken{Site: site, Secret: hex.EncodeToString(b[:]), Fingerprint: fingerprint}
}

// String returns the token as users pass it on.
func (t JoinToken) String() string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(string(t.Site)+"\n"+t.Secret+"\n"+t.Fingerprint))
}

// Hash returns what the hub keeps of a token's secret.
func Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// ParseJoinToken reads a token. Errors name the field and never repeat the token.
func ParseJoinToken(field, s string) (JoinToken, error) {
	bad := fault.BadField(field, "is not a join token; copy the whole text that `atollctl site create` or `atollctl site token` has printed")
	body, ok := strings.CutPrefix(strings.TrimSpace(s), tokenPrefix)
	raw, err := base64.RawURLEncoding.DecodeString(body)
	parts := strings.Split(string(raw), "\n")
	if !ok || err != nil || len(parts) != 3 || !isHex(parts[1], secretBytes) || !isHex(parts[2], sha256.Size) {
		return JoinToken{}, bad
	}
	site, err := image.ParseSiteID(field, parts[0])
	if err != nil {
		return JoinToken{}, bad
	}
	return JoinToken{Site: site, Secret: parts[1], Fingerprint: parts[2]}, nil
}

func isHex(s string, n int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n
}
