// Package signature is the signature of an image: the four properties that carry it, what is signed, and whether it fits a
// certificate.
//
// Signed are the bytes of the image as they are uploaded, under a hash of the SHA-2 family that is computed while they
// stream; never a weaker hash of them (OSSN-0061). The properties, their values and the form of the signatures are those of
// OpenStack (python-cursive): what one side signs the other verifies. Whether a certificate may be believed is not decided
// here.
package signature

import (
	"encoding/base64"
	"hash"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// The four properties. An image has all of them or none.
const (
	PropertySignature   = "img_signature"                  // in base64
	PropertyHash        = "img_signature_hash_method"      // a HashMethod
	PropertyKey         = "img_signature_key_type"         // a KeyType
	PropertyCertificate = "img_signature_certificate_uuid" // where the certificate is found
)

// Properties are the names of the four, the one that is most telling first.
var Properties = [...]string{PropertySignature, PropertyHash, PropertyKey, PropertyCertificate}

// Reasons of errors, which are all Invalid.
const (
	ReasonIncomplete  = "SIGNATURE_INCOMPLETE"  // some of the four properties are missing
	ReasonUnsupported = "SIGNATURE_UNSUPPORTED" // a hash method or a type of key that is not verified
	ReasonInvalid     = "SIGNATURE_INVALID"     // no signature of this data by this key
)

// maxSignature bounds a signature in bytes; one of the longest key allowed has half of that.
const maxSignature = 2048

// Request is a signature as the properties of an image claim it. Nothing is proved by it before Verify. It is not changed
// after it was made.
type Request struct {
	Hash          HashMethod
	Key           KeyType
	CertificateID string // a UUID in lower case
	Signature     []byte
}

// FromProperties returns the signature that the properties of an image claim, nil when there is none of the four. Errors are
// Invalid and name the property: ReasonIncomplete, ReasonUnsupported or ReasonInvalid.
func FromProperties(properties map[string]string) (*Request, error) {
	var missing []string
	for _, name := range Properties {
		if properties[name] == "" {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == len(Properties) && !anyOf(properties):
		return nil, nil
	case len(missing) > 0:
		return nil, refuse(missing[0], ReasonIncomplete, "is missing; a signature needs %s", strings.Join(Properties[:], ", "))
	}
	return parse(properties)
}

// anyOf reports whether one of the four is there, be it empty.
func anyOf(properties map[string]string) bool {
	for _, name := range Properties {
		if _, ok := properties[name]; ok {
			return true
		}
	}
	return false
}

func parse(properties map[string]string) (*Request, error) {
	r := &Request{}
	var err error
	if r.Hash, err = ParseHashMethod(properties[PropertyHash]); err != nil {
		return nil, err
	}
	if r.Key, err = ParseKeyType(properties[PropertyKey]); err != nil {
		return nil, err
	}
	id, err := image.ParseID(PropertyCertificate, strings.ToLower(properties[PropertyCertificate]))
	if err != nil {
		return nil, refuse(PropertyCertificate, ReasonInvalid, "is not a UUID like 2bd882e7-1da0-4078-97fe-f1bb81f61b00")
	}
	r.CertificateID = string(id)
	text := strings.TrimSpace(properties[PropertySignature])
	if len(text) > base64.StdEncoding.EncodedLen(maxSignature) {
		return nil, refuse(PropertySignature, ReasonInvalid, "is longer than a signature of %d bytes", maxSignature)
	}
	if r.Signature, err = base64.StdEncoding.DecodeString(text); err != nil || len(r.Signature) == 0 {
		return nil, refuse(PropertySignature, ReasonInvalid, "is not base64")
	}
	return r, nil
}

// Map returns the four properties.
func (r *Request) Map() map[string]string {
	return map[string]string{
		PropertySignature:   base64.StdEncoding.EncodeToString(r.Signature),
		PropertyHash:        string(r.Hash),
		PropertyKey:         string(r.Key),
		PropertyCertificate: r.CertificateID,
	}
}

// NewHash returns the hash whose sum is signed. Every byte of the image as it is uploaded belongs into it.
func (r *Request) NewHash() hash.Hash { return r.Hash.New() }

// refuse returns an Invalid error about one of the properties.
func refuse(property, reason, format string, args ...any) error {
	err := fault.BadField(property, format, args...)
	err.Reason = reason
	return err
}
