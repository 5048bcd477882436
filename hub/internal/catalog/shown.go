package catalog

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"time"

	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Properties of images that the hub gives them and nobody else. The Image API takes all names that begin so for its own
// (imageapi.Derived).
const (
	PropertySourceFormat = "atoll_source_format" // such as "qcow2" or "raw+xz"; only where data was changed on its way in
	PropertySignature    = "atoll_signature"     // a JSON object; only where a signature was verified
)

// Properties returns the properties of an image as its readers are shown them: its own and those that follow from its record.
// The map may be the record's: it must not be changed.
func Properties(img *storev1.Image) map[string]string {
	changed := img.Origin != nil || img.Signature != nil
	for name := range img.Properties {
		changed = changed || image.Derived(name) // from a time when anybody could set it
	}
	if !changed {
		return img.Properties
	}
	shown := make(map[string]string, len(img.Properties)+2)
	maps.Copy(shown, img.Properties)
	maps.DeleteFunc(shown, func(name, _ string) bool { return image.Derived(name) })
	if img.Origin != nil {
		shown[PropertySourceFormat] = sourceFormat(img.Origin)
	}
	if img.Signature != nil {
		shown[PropertySignature] = signatureText(img.Signature)
	}
	return shown
}

func sourceFormat(o *storev1.Origin) string {
	if o.Compression == "" {
		return o.DiskFormat
	}
	return o.DiskFormat + "+" + o.Compression
}

// signatureText returns what a signature has proved, as a JSON object on one line.
func signatureText(s *storev1.Signature) string {
	text, err := json.Marshal(struct {
		Hash        string `json:"hash_method"`
		Key         string `json:"key_type"`
		Certificate string `json:"certificate_uuid"`
		Fingerprint string `json:"certificate_sha256"`
		Subject     string `json:"subject"`
		Verified    string `json:"verified_at"`
		Trusted     bool   `json:"trusted"`
	}{
		s.HashMethod, s.KeyType, s.CertificateId, hex.EncodeToString(s.CertificateSha256), s.Subject, s.VerifyTime.AsTime().Format(time.RFC3339),
		s.Trusted,
	})
	if err != nil {
		return "" // strings always marshal
	}
	return string(text)
}
