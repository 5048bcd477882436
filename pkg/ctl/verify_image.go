package ctl

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	"github.com/atoll-dcn/atoll/pkg/signature"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// verifyImage compares the data of an image with what is recorded of it, and asks about its copies.
func (c *cli) verifyImage(ctx context.Context, idOrName string, f verifyFlags) error {
	img, err := c.hub.FindImage(ctx, idOrName)
	if err != nil {
		return err
	}
	if img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE {
		return fault.New(fault.Precondition, "NOT_ACTIVE", "image %s is %s; only an active one can be verified", img.GetId(), statusWord(img))
	}
	p := &proof{
		Image: img.GetId(), Name: img.GetName(), Bytes: img.GetSizeBytes(), SHA512: strings.ToLower(img.GetOsHashValue()),
		Manifest: img.GetManifestDigest(), Source: came(img.GetOrigin()), Signature: recorded(img.GetSignature()),
	}
	if img.GetOsHashAlgo() != "sha512" {
		p.SHA512 = ""
	}
	s, err := newSigned(img, p, f.certificate)
	if err != nil {
		return err
	}
	if p.Signature == nil && img.GetProperties()[signature.PropertySignature] != "" && s.request == nil {
		_, _ = io.WriteString(c.env.Stderr, "note: the hub has not verified the signature that the properties name; use --certificate\n")
	}
	if err := c.proveData(ctx, p, s); err != nil {
		return err
	}
	if f.copies {
		if err := c.proveCopies(ctx, img); err != nil {
			return err
		}
	}
	copies, err := collect(c.hub.AllReplicas(ctx, &hubv1.ListReplicasRequest{ImageId: img.GetId()}))
	if err != nil {
		return err
	}
	for _, r := range copies {
		p.Copies = append(p.Copies, copyProof{r.GetStoreId(), word(r.GetPhase(), "REPLICA_PHASE_"), when(r.GetVerifyTime())})
	}
	return c.showProof(p)
}

// proveData downloads the data of an image and compares it.
func (c *cli) proveData(ctx context.Context, p *proof, s *signed) error {
	sum, root := sha512.New(), &rootSum{}
	w := []io.Writer{sum, root}
	if s.hash != nil {
		w = append(w, s.hash)
	}
	shown := c.newProgress()
	_, err := c.hub.Download(ctx, p.Image, io.MultiWriter(w...), func(done, total int64) {
		shown.bytes("image", "receiving", done, total)
	})
	shown.close()
	switch {
	case err != nil:
		return err
	case p.SHA512 != "" && hex.EncodeToString(sum.Sum(nil)) != p.SHA512:
		return fault.New(fault.Corrupt, "HASH_MISMATCH", "the data received is not the image: its SHA-512 differs")
	case p.Manifest != "" && root.root().String() != p.Manifest:
		return fault.New(fault.Corrupt, "DIGEST_MISMATCH", "the data received is not the image: the root digest of its manifest differs")
	}
	return s.prove(p)
}

// signed is the signature of an image together with the certificate that was given for it.
type signed struct {
	request     *signature.Request // nil: not to be verified here
	certificate *x509.Certificate
	hash        hash.Hash
}

// newSigned reads the certificate, if one is given, and refuses it when it is not the one of the image.
func newSigned(img *hubv1.Image, p *proof, file string) (*signed, error) {
	if file == "" {
		return &signed{}, nil
	}
	certificate, err := readCertificate(file)
	if err != nil {
		return nil, err
	}
	r, err := signature.FromProperties(img.GetProperties())
	if err != nil {
		return nil, err
	}
	if r == nil && p.Signature == nil {
		return nil, fault.New(fault.Precondition, "NOT_SIGNED", "image %s has no signature", img.GetId())
	}
	if p.Signature != nil {
		if p.Signature.Fingerprint != fingerprint(certificate) {
			return nil, fault.New(fault.Invalid, "CERTIFICATE_MISMATCH", "the hub has verified the signature with another certificate than that in %s", file)
		}
		p.Signature.Compared = true
	}
	if r == nil || img.GetOrigin() != nil { // signed was what came in, and that is gone
		return &signed{}, nil
	}
	return &signed{r, certificate, r.NewHash()}, nil
}

// prove verifies the signature over the data that has been hashed.
func (s *signed) prove(p *proof) error {
	if s.request == nil {
		return nil
	}
	if err := s.request.Verify(s.certificate, s.hash.Sum(nil)); err != nil {
		return err
	}
	if p.Signature == nil {
		p.Signature = proofOf(s.request, s.certificate)
	}
	p.Signature.Here = true
	return nil
}

// proveCopies lets every site that has a copy read it back, all at once.
func (c *cli) proveCopies(ctx context.Context, img *hubv1.Image) error {
	var started []*hubv1.Operation
	for _, store := range slices.Sorted(slices.Values(img.GetStores())) {
		res, err := c.hub.Replicas.VerifyReplica(ctx, &hubv1.VerifyReplicaRequest{ImageId: img.GetId(), StoreId: store})
		if err != nil {
			return err
		}
		started = append(started, res.GetOperation())
	}
	for _, op := range started {
		p := c.newProgress()
		op, err := c.follow(ctx, op, p)
		p.close()
		if err != nil {
			return err
		}
		if failure := failureOf(op); failure != nil {
			return failure
		}
	}
	return nil
}

// recorded describes the signature that the hub has verified.
func recorded(s *hubv1.Signature) *signatureProof {
	if s == nil {
		return nil
	}
	return &signatureProof{
		Hash: s.GetHashMethod(), Key: s.GetKeyType(), ID: s.GetCertificateId(), Fingerprint: s.GetCertificateSha256(),
		Subject: s.GetSubject(), ByHub: when(s.GetVerifyTime()), Trusted: s.GetTrusted(),
	}
}

// came says in which form data came in, empty when it is stored as it came.
func came(o *hubv1.Origin) string {
	if o == nil {
		return ""
	}
	text := strings.Trim(o.GetDiskFormat()+", "+o.GetContainerFormat(), ", ")
	if o.GetCompression() != "" {
		text += ", " + o.GetCompression()
	}
	return text
}

func when(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

// rootSum computes the root digest of the manifest of what is written to it.
type rootSum struct {
	man   manifest.Manifest
	chunk []byte
}

// Write takes the next bytes.
func (s *rootSum) Write(data []byte) (int, error) {
	n := len(data)
	for len(data) > 0 {
		if s.chunk == nil {
			s.chunk = make([]byte, 0, manifest.ChunkSize)
		}
		take := min(len(data), manifest.ChunkSize-len(s.chunk))
		s.chunk, data = append(s.chunk, data[:take]...), data[take:]
		if len(s.chunk) == manifest.ChunkSize {
			s.end()
		}
	}
	return n, nil
}

// end ends a chunk.
func (s *rootSum) end() {
	s.man.Length += int64(len(s.chunk))
	s.man.Chunks = append(s.man.Chunks, frame.ChunkDigest(s.chunk))
	s.chunk = s.chunk[:0]
}

// root returns the digest. Nothing may be written after it.
func (s *rootSum) root() manifest.Digest {
	if len(s.chunk) > 0 {
		s.end()
	}
	return s.man.Root(frame.Sum)
}
