package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// image returns an image as users see it, or NotFound.
func (v *view) image(field, s string) (*hubv1.Image, error) {
	id, err := image.ParseID(field, s)
	if err != nil {
		return nil, err
	}
	img, rev := v.read().Image(id)
	if !visible(img) {
		return nil, fault.New(fault.NotFound, "IMAGE_NOT_FOUND", "no image %s", id)
	}
	return v.imageMessage(img, rev), nil
}

func visible(img *storev1.Image) bool {
	return img != nil && img.Status != storev1.ImageStatus_IMAGE_STATUS_DELETED
}

// imageMessage converts a record. What is published follows from the replicas.
func (v *view) imageMessage(img *storev1.Image, rev int64) *hubv1.Image {
	m := &hubv1.Image{
		Id: img.Id, Name: img.Name, Etag: strconv.FormatInt(rev, 36),
		Status:     hubv1.ImageStatus(img.Status), // the values are the same, see TestEnumsAgree
		CreateTime: img.CreateTime, UpdateTime: img.UpdateTime,
		SizeBytes: img.Content.GetSizeBytes(), DiskFormat: img.DiskFormat, ContainerFormat: img.ContainerFormat,
		Properties: img.Properties, Protected: img.Protected, ContentId: img.Content.GetId(),
	}
	if img.Content.GetComplete() {
		m.Checksum, m.OsHashAlgo, m.OsHashValue = img.Content.Md5, "sha512", img.Content.Sha512
		m.ManifestDigest = fmt.Sprintf("%x", img.Content.ManifestDigest)
	}
	v.addReplicas(m, img)
	return m
}

// addReplicas fills in stores, locations and the progress lists.
func (v *view) addReplicas(m *hubv1.Image, img *storev1.Image) {
	replicas, _ := v.read().Replicas(image.ID(img.Id))
	have := map[string]bool{}
	for _, r := range replicas {
		have[r.StoreId] = r.Phase != storev1.ReplicaPhase_REPLICA_PHASE_DELETING
		switch r.Phase {
		case storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE:
			if img.Status == storev1.ImageStatus_IMAGE_STATUS_ACTIVE {
				m.Stores = append(m.Stores, r.StoreId)
				m.Locations = append(m.Locations, &hubv1.Location{Url: r.Location, Store: r.StoreId})
			}
		case storev1.ReplicaPhase_REPLICA_PHASE_FAILED:
			m.FailedImport = append(m.FailedImport, r.StoreId)
		case storev1.ReplicaPhase_REPLICA_PHASE_DELETING:
		default:
			m.ImportingToStores = append(m.ImportingToStores, r.StoreId)
		}
	}
	ops, _ := v.read().ImageOperations(image.ID(img.Id))
	for _, o := range ops { // stores whose replica the planner is about to create
		if o.Undoing != storev1.OperationState_OPERATION_STATE_UNSPECIFIED ||
			o.Kind != storev1.OperationKind_OPERATION_KIND_IMPORT && o.Kind != storev1.OperationKind_OPERATION_KIND_COPY {
			continue
		}
		for _, part := range o.Stores {
			if !have[part.StoreId] && part.State == storev1.OperationState_OPERATION_STATE_RUNNING {
				have[part.StoreId] = true
				m.ImportingToStores = append(m.ImportingToStores, part.StoreId)
			}
		}
	}
	for _, s := range img.FailedStores {
		if !have[s] {
			m.FailedImport = append(m.FailedImport, s)
		}
	}
	slices.Sort(m.ImportingToStores)
	slices.Sort(m.FailedImport)
	central := string(v.Catalog.Central())
	slices.SortStableFunc(m.Locations, func(a, b *hubv1.Location) int {
		return cmp.Or(-cmp.Compare(btoi(a.Store == central), btoi(b.Store == central)), cmp.Compare(a.Store, b.Store))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
