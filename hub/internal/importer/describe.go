package importer

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/trust"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/inspect"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Signatures finds out what the signatures of images are checked with. It is *trust.Signatures.
type Signatures interface {
	// Prepare returns the check of the signature that an image's properties claim, nil when they claim none. It asks for the
	// certificate in the name of the caller, nil when the hub goes on with an import by itself, and may block on the network.
	// Errors are shown to users.
	Prepare(ctx context.Context, caller *auth.Caller, properties map[string]string) (trust.Check, error)
}

// prepare returns the check of an image's signature; nil when it has none.
func (im *Importer) prepare(ctx context.Context, id image.ID) (trust.Check, error) {
	if im.Signatures == nil {
		return nil, nil
	}
	img, _ := im.Catalog.Read().Image(id)
	return im.Signatures.Prepare(ctx, auth.From(ctx), img.GetProperties())
}

// verifySignature checks the signature of the data.
func (f *flow) verifySignature(digest []byte) error {
	facts, err := f.s.signature.Verify(digest)
	if err != nil {
		return err
	}
	f.signed = &storev1.Signature{
		HashMethod: facts.HashMethod, KeyType: facts.KeyType, CertificateId: facts.CertificateID,
		CertificateSha256: facts.Fingerprint[:], Subject: facts.Subject, VerifyTime: timestamppb.New(facts.Verified),
		Trusted: facts.Trusted,
	}
	return nil
}

// detectTime bounds how long an import waits for a look into the disk.
const detectTime = 5 * time.Second

// describe adds what else is known of the data that has arrived.
func (f *flow) describe(a catalog.Arrived) catalog.Arrived {
	a.Signature = f.signed
	if f.im.DetectOS == nil || !f.s.describe || !f.s.treat.bare || a.DiskFormat != string(inspect.Raw) && f.s.treat.disk != string(inspect.Raw) {
		return a
	}
	img, _ := f.im.Catalog.Read().Image(f.a.image)
	if img.GetProperties()["os_distro"] != "" || img.GetProperties()["os_version"] != "" {
		return a
	}
	ctx, cancel := context.WithTimeout(f.ctx, detectTime)
	defer cancel()
	r := f.im.Area.LocalReader(ctx, f.s.content)
	defer func() { _ = r.Close() }()
	distro, version := f.im.DetectOS(ctx, r, a.Content.SizeBytes)
	if distro == "" {
		return a
	}
	a.Properties = map[string]string{"os_distro": distro}
	if version != "" {
		a.Properties["os_version"] = version
	}
	return a
}
