package catalog

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Import is a request to bring data in.
type Import struct {
	Image    image.ID
	Target   Target // not for staging
	URI      string // what is kept of the URL; empty for an upload by the caller
	Secret   bool   // the URL had more, which is not kept
	Checksum image.Checksum
	// Content is the content that is being created in the staging area; none with FromStaged when the staged data is stored as
	// it is.
	Content image.ID
	// Incoming is the content that takes the data as it comes while Content is made of it; none when the data is stored as it
	// comes, and with FromStaged, where it is the staged one.
	Incoming   image.ID
	KeepFormat bool              // store the data as it comes
	Properties map[string]string // the image gets them when all data has come
	SizeBytes  int64             // 0 when unknown
	Method     string            // way of the Image API, such as "web-download"; empty for the gRPC API
	Direct     bool              // the caller waits until the data is stored
	FromStaged bool              // the data was staged before
}

// CheckImport returns the error BeginImport would return now, without changing anything.
func (c *Catalog) CheckImport(in Import) error {
	_, _, err := c.importable(in)
	if err == nil {
		_, err = c.importStores(in.Target)
	}
	return err
}

// BeginImport turns a queued image, or one with staged data, into an importing one and creates the operation that fills
// the stores. The central store is always among them. Errors: NOT_QUEUED, NOT_STAGED, NO_FORMAT, IMAGE_TOO_LARGE,
// PROJECT_QUOTA and those of the target.
func (c *Catalog) BeginImport(ctx context.Context, in Import) (*storev1.Operation, error) {
	var op *storev1.Operation
	err := c.repeat(ctx, func() error {
		old, rev, err := c.importable(in)
		if err != nil {
			return err
		}
		stores, err := c.importStores(in.Target)
		if err != nil {
			return err
		}
		if err := c.admit(old.Owner, max(in.SizeBytes, old.Content.GetSizeBytes())*int64(len(stores))); err != nil {
			return err
		}
		img := proto.CloneOf(old)
		img.Status = storev1.ImageStatus_IMAGE_STATUS_IMPORTING
		img.UpdateTime = c.stamp()
		begin(img, in)
		img.FailedStores = withoutStores(img.FailedStores, stores)
		img.PublishTogether = in.Target.AllMustSucceed
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_IMPORT, in.Image, stores)
		op.AllMustSucceed = in.Target.AllMustSucceed
		op.Method = in.Method
		op.Source = &storev1.Source{
			Uri: in.URI, Secret: in.Secret, Checksum: in.Checksum.String(),
			ContentId: img.Content.Id, Complete: in.FromStaged && in.Content == "", Direct: in.Direct,
			KeepFormat: in.KeepFormat, Properties: in.Properties, Staged: in.FromStaged,
		}
		if op.Source.Complete {
			setProperties(img, in.Properties)
		}
		return c.records.Commit(ctx,
			Write{Key: ImageKey(in.Image), Value: img, Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// begin gives an image the contents of an import.
func begin(img *storev1.Image, in Import) {
	if in.FromStaged && in.Content == "" { // it may have been converted by an import that failed later
		return
	}
	img.Origin, img.Signature = nil, nil
	switch {
	case in.FromStaged:
		img.Incoming = img.Content
		img.Content = &storev1.Content{Id: string(in.Content)}
	case in.Incoming != "":
		img.Incoming = &storev1.Content{Id: string(in.Incoming), SizeBytes: in.SizeBytes}
		img.Content = &storev1.Content{Id: string(in.Content)}
	default:
		img.Content = &storev1.Content{Id: string(in.Content), SizeBytes: in.SizeBytes}
	}
}

// BeginStage makes a queued image one whose data arrives in the staging area, and creates the operation for that; it
// names no stores. Errors: NOT_QUEUED, NO_FORMAT, IMAGE_TOO_LARGE, STAGING_QUOTA.
func (c *Catalog) BeginStage(ctx context.Context, in Import) (*storev1.Operation, error) {
	var op *storev1.Operation
	err := c.repeat(ctx, func() error {
		old, rev, err := c.importable(in)
		if err != nil {
			return err
		}
		if most := c.limits.StagedBytes; most > 0 {
			if u := c.ProjectUsage(old.Owner); u.Staged >= most || u.Staged+in.SizeBytes > most {
				return fault.New(fault.Exhausted, "STAGING_QUOTA", "the project may stage %d bytes and has %d", most, u.Staged)
			}
		}
		img := proto.CloneOf(old)
		img.Status = storev1.ImageStatus_IMAGE_STATUS_UPLOADING
		img.UpdateTime = c.stamp()
		img.Content = &storev1.Content{Id: string(in.Content), SizeBytes: in.SizeBytes}
		img.Staged = true
		op = c.newOperation(ctx, storev1.OperationKind_OPERATION_KIND_STAGE, in.Image, nil)
		op.Method = in.Method
		op.Source = &storev1.Source{ContentId: string(in.Content)}
		return c.records.Commit(ctx,
			Write{Key: ImageKey(in.Image), Value: img, Revision: rev},
			Write{Key: OperationKey(image.ID(op.Id)), Value: op})
	})
	return op, err
}

// importable returns an image whose data may begin to arrive as the request says.
func (c *Catalog) importable(in Import) (*storev1.Image, int64, error) {
	img, rev, err := c.visibleImage(in.Image)
	switch {
	case err != nil:
		return nil, 0, err
	case in.FromStaged && (img.Status != storev1.ImageStatus_IMAGE_STATUS_UPLOADING || !img.Content.GetComplete()):
		return nil, 0, fault.New(fault.Precondition, "NOT_STAGED", "image %s has no staged data", in.Image)
	case !in.FromStaged && img.Status != storev1.ImageStatus_IMAGE_STATUS_QUEUED:
		return nil, 0, fault.New(fault.Precondition, "NOT_QUEUED", "image %s has data already or is being imported", in.Image)
	case img.DiskFormat == "" || img.ContainerFormat == "":
		return nil, 0, fault.New(fault.Precondition, "NO_FORMAT", "disk_format and container_format of image %s must be set before its data comes", in.Image)
	case c.limits.ImageSize > 0 && in.SizeBytes > c.limits.ImageSize:
		return nil, 0, fault.New(fault.Exhausted, "IMAGE_TOO_LARGE", "the image is larger than the limit of %d bytes", c.limits.ImageSize)
	}
	if in.FromStaged { // it was asked when the data came
		return img, rev, nil
	}
	return img, rev, c.checkFormats("", img, nil)
}

func (c *Catalog) importStores(t Target) ([]image.StoreID, error) {
	stores, err := c.resolve(t)
	if err != nil {
		return nil, err
	}
	if s, _ := c.records.Store(c.central); s == nil {
		return nil, fault.New(fault.Precondition, "NO_CENTRAL_STORE",
			"the central store %q is not registered; start the agent of the hub site first", c.central)
	}
	if !slices.Contains(stores, c.central) {
		stores = append(stores, c.central)
		slices.Sort(stores)
	}
	return stores, nil
}

// RestartImport gives a running import new contents: when it is its turn, and after the hub has restarted. incoming is empty
// when the data is stored as it comes, and when it was staged, which stays where it is.
func (c *Catalog) RestartImport(ctx context.Context, op, content, incoming image.ID) error {
	return c.editImport(ctx, op, func(o *storev1.Operation, img *storev1.Image) {
		size := max(img.Content.GetSizeBytes(), img.Incoming.GetSizeBytes())
		o.Source.ContentId = string(content)
		switch {
		case o.Source.Staged:
			img.Content = &storev1.Content{Id: string(content)}
		case incoming != "":
			img.Incoming = &storev1.Content{Id: string(incoming), SizeBytes: size}
			img.Content = &storev1.Content{Id: string(content)}
		default:
			img.Incoming = nil
			img.Content = &storev1.Content{Id: string(content), SizeBytes: size}
		}
	})
}

// SetSizeHint records how many bytes a running import will store, once that is known.
func (c *Catalog) SetSizeHint(ctx context.Context, op image.ID, size int64) error {
	return c.editImport(ctx, op, func(_ *storev1.Operation, img *storev1.Image) { img.Content.SizeBytes = size })
}

// SetIncomingHint records how many bytes will come in from the source of a running import whose data is not stored as it
// comes.
func (c *Catalog) SetIncomingHint(ctx context.Context, op image.ID, size int64) error {
	return c.editImport(ctx, op, func(_ *storev1.Operation, img *storev1.Image) {
		if img.Incoming != nil {
			img.Incoming.SizeBytes = size
		}
	})
}

// Arrived is what is known when all data of an import has come.
type Arrived struct {
	Content    *storev1.Content
	DiskFormat string             // of the content; empty: as the image says
	Origin     *storev1.Origin    // nil: the data is stored as it came
	Signature  *storev1.Signature // nil: there was none
	// Properties were found in the data. The image gets those that it does not have, as far as its limit allows.
	Properties map[string]string
}

// CompleteSource records that all bytes of an import are safely in the staging area; with it a stage is done. Precondition
// when the operation has been cancelled or the image deleted meanwhile.
func (c *Catalog) CompleteSource(ctx context.Context, op image.ID, a Arrived) error {
	return c.editImport(ctx, op, func(o *storev1.Operation, img *storev1.Image) {
		o.Source.Complete = true
		img.Content, img.Incoming, img.Origin, img.Signature = a.Content, nil, a.Origin, a.Signature
		if a.DiskFormat != "" {
			img.DiskFormat = a.DiskFormat
		}
		setProperties(img, o.Source.Properties)
		c.addProperties(img, a.Properties)
		img.UpdateTime = c.stamp()
		if o.Kind == storev1.OperationKind_OPERATION_KIND_STAGE {
			o.State = storev1.OperationState_OPERATION_STATE_SUCCEEDED
			o.EndTime = c.stamp()
		}
	})
}

// setProperties sets properties that the operator wants every image to have; they count for no limit.
func setProperties(img *storev1.Image, properties map[string]string) {
	if len(properties) > 0 && img.Properties == nil {
		img.Properties = map[string]string{}
	}
	maps.Copy(img.Properties, properties)
}

// addProperties adds those of the properties that the image does not have, in the order of their names.
func (c *Catalog) addProperties(img *storev1.Image, properties map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if _, has := img.Properties[key]; !has && (c.limits.Properties <= 0 || len(img.Properties) < c.limits.Properties) {
			setProperties(img, map[string]string{key: properties[key]})
		}
	}
}

// SetHashes records the digests in hex of a complete content that had none. Precondition when the image has another content
// now, or none.
func (c *Catalog) SetHashes(ctx context.Context, id, content image.ID, md5, sha512 string) error {
	return c.repeat(ctx, func() error {
		old, rev, err := c.visibleImage(id)
		if err != nil {
			return err
		}
		if old.Content.GetId() != string(content) || !old.Content.Complete {
			return fault.New(fault.Precondition, "CONTENT_CHANGED", "image %s has other data now", id)
		}
		img := proto.CloneOf(old)
		img.Content.Md5, img.Content.Sha512 = md5, sha512
		img.UpdateTime = c.stamp()
		return c.records.Commit(ctx, Write{Key: ImageKey(id), Value: img, Revision: rev})
	})
}

// editImport changes the records of a running import and its image, which edit gets as copies; it may be called again.
func (c *Catalog) editImport(ctx context.Context, op image.ID, edit func(*storev1.Operation, *storev1.Image)) error {
	return c.repeat(ctx, func() error {
		o, orev, img, irev, err := c.runningImport(op)
		if err != nil {
			return err
		}
		edit(o, img)
		return c.records.Commit(ctx,
			Write{Key: ImageKey(image.ID(img.Id)), Value: img, Revision: irev},
			Write{Key: OperationKey(op), Value: o, Revision: orev})
	})
}

// FailSource records that the data of an import will not arrive. The reconciler then undoes the import. All stores of a
// fetch have failed by that; the caller of an upload knows from the answer.
func (c *Catalog) FailSource(ctx context.Context, op image.ID, cause *storev1.OperationError) error {
	return c.repeat(ctx, func() error {
		o, orev, img, irev, err := c.runningImport(op)
		if err != nil {
			return err
		}
		o.Undoing = storev1.OperationState_OPERATION_STATE_FAILED
		o.Error = cause
		writes := []Write{{Key: OperationKey(op), Value: o, Revision: orev}}
		if fetches(o) {
			for _, part := range o.Stores {
				img.FailedStores = append(img.FailedStores, part.StoreId)
			}
			slices.Sort(img.FailedStores)
			img.FailedStores = slices.Compact(img.FailedStores)
			writes = append(writes, Write{Key: ImageKey(image.ID(img.Id)), Value: img, Revision: irev})
		}
		return c.records.Commit(ctx, writes...)
	})
}

// fetches reports whether the hub gets the data of an import by itself.
func fetches(o *storev1.Operation) bool {
	return o.Source.GetUri() != "" || o.Source.GetStaged() || o.Method == "glance-download"
}

// runningImport returns copies of a running import and its image.
func (c *Catalog) runningImport(op image.ID) (o *storev1.Operation, orev int64, img *storev1.Image, irev int64, err error) {
	oo, orev := c.records.Operation(op)
	gone := fault.New(fault.Precondition, "IMPORT_ENDED", "the import has been cancelled or its image deleted")
	if oo == nil || !Importing(oo) {
		return nil, 0, nil, 0, gone
	}
	oi, irev := c.records.Image(image.ID(oo.ImageId))
	if oi == nil || oi.Content.GetId() != oo.Source.GetContentId() {
		return nil, 0, nil, 0, gone
	}
	return proto.CloneOf(oo), orev, proto.CloneOf(oi), irev, nil
}

// Importing reports whether the operation is an import or a stage whose data is still arriving.
func Importing(o *storev1.Operation) bool {
	return (o.Kind == storev1.OperationKind_OPERATION_KIND_IMPORT || o.Kind == storev1.OperationKind_OPERATION_KIND_STAGE) &&
		o.State == storev1.OperationState_OPERATION_STATE_RUNNING &&
		o.Undoing == storev1.OperationState_OPERATION_STATE_UNSPECIFIED && !o.Source.GetComplete()
}
