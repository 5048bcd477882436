package catalog

import (
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestShownProperties(t *testing.T) {
	own := map[string]string{"os_distro": "debian"}
	forged := map[string]string{"os_distro": "debian", "atoll_signature": "forged", "atoll_other": "x"}
	signature := &storev1.Signature{
		HashMethod: "SHA-256", KeyType: "RSA-PSS", CertificateId: "c", CertificateSha256: []byte{0xab}, Subject: `CN="x"`, Trusted: true,
		VerifyTime: timestamppb.New(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)),
	}
	const text = `{"hash_method":"SHA-256","key_type":"RSA-PSS","certificate_uuid":"c","certificate_sha256":"ab","subject":"CN=\"x\"",` +
		`"verified_at":"2026-09-01T12:00:00Z","trusted":true}`
	for name, tt := range map[string]struct {
		img  *storev1.Image
		want map[string]string
	}{
		"nothing":      {&storev1.Image{}, nil},
		"its own":      {&storev1.Image{Properties: own}, own},
		"forged":       {&storev1.Image{Properties: forged}, own},
		"converted":    {&storev1.Image{Origin: &storev1.Origin{DiskFormat: "qcow2"}}, map[string]string{"atoll_source_format": "qcow2"}},
		"compressed":   {&storev1.Image{Origin: &storev1.Origin{DiskFormat: "raw", Compression: "xz"}}, map[string]string{"atoll_source_format": "raw+xz"}},
		"signed":       {&storev1.Image{Signature: signature, Properties: own}, map[string]string{"os_distro": "debian", "atoll_signature": text}},
		"forged, sure": {&storev1.Image{Signature: signature, Properties: forged}, map[string]string{"os_distro": "debian", "atoll_signature": text}},
	} {
		before := maps.Clone(tt.img.Properties)
		if got := Properties(tt.img); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v", name, got)
		}
		if !maps.Equal(tt.img.Properties, before) {
			t.Errorf("%s: the record was changed", name)
		}
	}
}
