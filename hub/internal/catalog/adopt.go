package catalog

import (
	"context"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// digestLengths are the algorithms in which a caller may say what digest a copy has, and the length of each in bytes.
var digestLengths = map[string]int{"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}

// Adopt makes a copy that somebody else has written into a store, under the image's UUID and with its snapshot, the first
// copy of a queued image. Without expected the image is active as soon as the site confirms that the copy is there; its
// digests follow. With expected it is active once the site has found the digest to be that; else the image returns to
// queued and the copy is left alone. Errors: NOT_QUEUED, NO_FORMAT, BEING_DELETED (Precondition), STORE_UNKNOWN
// (Invalid), those of a bad digest (Invalid), PROJECT_QUOTA (Exhausted).
func (c *Catalog) Adopt(ctx context.Context, id image.ID, store image.StoreID, expected *storev1.Expected) (*storev1.Operation, error) {
	if err := checkExpected(expected); err != nil {
		return nil, err
	}
	var op *storev1.Operation
	err := c.repeat(ctx, func() error {
		old, rev, err := c.importable(Import{Image: id})
		if err != nil {
			return err
		}
		s, _ := c.records.Store(store)
		if s == nil {
			return fault.New(fault.Invalid, "STORE_UNKNOWN", "no store is named %q", store)
		}
		if r, _ := c.records.Replica(id, store); r != nil {
			return fault.New(fault.Precondition, "BEING_DELETED", "an earlier copy in store %s is still being removed", store)
		}
		if err := c.admit(old.Owner, 0); err != nil {
			return err
		}
		content := image.NewID()
		img := proto.CloneOf(old)
		img.Status = storev1.ImageStatus_IMAGE_STATUS_IMPORTING
		img.UpdateTime = c.stamp()
		img.Content = &storev1.Content{Id: string(content), AdoptedFrom: string(store)}
		img.FailedStores = withoutStores(img.FailedStores, []image.StoreID{store})
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_ADOPT, id, []image.StoreID{store})
		op.Expected = proto.CloneOf(expected)
		op.Stores[0].Created = true
		return c.records.Commit(ctx,
			Write{Key: ImageKey(id), Value: img, Revision: rev},
			Write{Key: ReplicaKey(id, store), Value: c.adopted(img, s)},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// adopted returns the replica of a copy that is being adopted.
func (c *Catalog) adopted(img *storev1.Image, s *storev1.Store) *storev1.Replica {
	return &storev1.Replica{
		ImageId: img.Id, StoreId: s.Id, SiteId: s.SiteId, Adopted: true,
		Phase: storev1.ReplicaPhase_REPLICA_PHASE_PENDING, PhaseTime: c.stamp(), CreateTime: c.stamp(),
		Generation: NextGeneration(0, c.now()), ContentId: img.Content.Id,
	}
}

func checkExpected(e *storev1.Expected) error {
	if e == nil {
		return nil
	}
	n, ok := digestLengths[e.HashAlgo]
	if !ok {
		return fault.BadField("hash_algo", "use md5, sha1, sha256 or sha512")
	}
	if b, err := hex.DecodeString(e.HashValue); err != nil || len(b) != n || hex.EncodeToString(b) != e.HashValue {
		return fault.BadField("hash_value", "a digest of %s has %d lower-case hex digits", e.HashAlgo, 2*n)
	}
	return nil
}

// AwaitedManifest is what is known of a manifest that a site may send.
type AwaitedManifest struct {
	SizeBytes int64  // length of the content
	Digest    []byte // root digest; empty: whatever the site finds
}

// AwaitManifest says whether a site may send the manifest of a content: the site whose copy is being adopted, or one that
// holds a published copy, which lets the staging area have a manifest again that it has lost. Errors: NotFound for a
// content of no image, Denied when the site holds no such copy, Unavailable while the site has not said how long the copy
// is. It does not block.
func (c *Catalog) AwaitManifest(content image.ID, site image.SiteID) (AwaitedManifest, error) {
	img := c.imageOf(content)
	if img == nil {
		return AwaitedManifest{}, fault.New(fault.NotFound, "CONTENT_UNKNOWN", "no image has the content %s", content)
	}
	replicas, _ := c.records.Replicas(image.ID(img.Id))
	for _, r := range replicas {
		if r.ContentId != string(content) || site != "" && r.SiteId != string(site) {
			continue
		}
		switch {
		case img.Content.Complete && r.Phase == storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
			return AwaitedManifest{SizeBytes: img.Content.SizeBytes, Digest: img.Content.ManifestDigest}, nil
		case img.Content.Complete || !r.Adopted || r.Removal != storev1.Removal_REMOVAL_UNSPECIFIED:
		case img.Content.SizeBytes == 0:
			return AwaitedManifest{}, fault.New(fault.Unavailable, "COPY_UNCONFIRMED", "the copy has not been confirmed yet")
		default:
			return AwaitedManifest{SizeBytes: img.Content.SizeBytes}, nil
		}
	}
	return AwaitedManifest{}, fault.New(fault.Denied, "NOT_YOUR_COPY", "the site holds no copy whose manifest is awaited")
}

// imageOf returns the image with a content, nil if there is none.
func (c *Catalog) imageOf(content image.ID) *storev1.Image {
	for _, img := range c.records.Images() {
		if img.Content.GetId() == string(content) && img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETED {
			return img
		}
	}
	return nil
}
