package glance

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	queued    = storev1.ImageStatus_IMAGE_STATUS_QUEUED
	importing = storev1.ImageStatus_IMAGE_STATUS_IMPORTING
	ready     = storev1.ImageStatus_IMAGE_STATUS_ACTIVE
	uploading = storev1.ImageStatus_IMAGE_STATUS_UPLOADING
	deleting  = storev1.ImageStatus_IMAGE_STATUS_DELETING
	deleted   = storev1.ImageStatus_IMAGE_STATUS_DELETED
)

// TestWhatIsShownOfRecords has a row for each state of an image in the records.
func TestWhatIsShownOfRecords(t *testing.T) {
	pending := storev1.ReplicaPhase_REPLICA_PHASE_PENDING
	failed := storev1.ReplicaPhase_REPLICA_PHASE_FAILED
	published := storev1.ReplicaPhase_REPLICA_PHASE_ACTIVE
	imports, copies := storev1.OperationKind_OPERATION_KIND_IMPORT, storev1.OperationKind_OPERATION_KIND_COPY
	tests := []struct {
		name      string
		status    storev1.ImageStatus
		change    func(*storev1.Image)
		replicas  map[string]storev1.ReplicaPhase
		operation *storev1.Operation
		shows     map[string]any
	}{
		{
			name: "queued", status: queued, change: func(i *storev1.Image) { i.Content = nil },
			shows: map[string]any{"status": "queued", "size": nil, "checksum": nil, "stores": nil, "os_glance_importing_to_stores": nil},
		},
		{
			name: "staging", status: uploading, change: func(i *storev1.Image) { i.Content.Complete = false },
			shows: map[string]any{"status": "uploading", "size": nil, "checksum": nil},
		},
		{name: "staged", status: uploading, shows: map[string]any{"status": "uploading", "size": 1073741824.0}},
		{
			name: "an upload", status: importing, replicas: map[string]storev1.ReplicaPhase{"central": pending},
			operation: &storev1.Operation{Kind: imports, Source: &storev1.Source{Direct: true}},
			shows:     map[string]any{"status": "saving", "os_glance_importing_to_stores": nil, "os_glance_import_task": nil, "stores": nil},
		},
		{
			name: "an import", status: importing, replicas: map[string]storev1.ReplicaPhase{"central": published, "dcn1": pending},
			operation: &storev1.Operation{Kind: imports, Stores: []*storev1.OperationStore{{StoreId: "dcn2", State: storev1.OperationState_OPERATION_STATE_RUNNING}}},
			shows: map[string]any{
				"status": "importing", "os_glance_importing_to_stores": "dcn1,dcn2", "os_glance_failed_import": "",
				"os_glance_import_task": "task", "stores": nil,
			},
		},
		{
			name: "an import that failed", status: queued,
			change: func(i *storev1.Image) { i.Content, i.FailedStores = nil, []string{"dcn1", "central"} },
			shows:  map[string]any{"status": "queued", "os_glance_failed_import": "central,dcn1", "os_glance_importing_to_stores": ""},
		},
		{
			name: "active", status: ready, replicas: map[string]storev1.ReplicaPhase{"central": published},
			shows: map[string]any{"status": "active", "size": 1073741824.0, "os_hash_algo": "sha512", "stores": "central", "os_glance_importing_to_stores": nil},
		},
		{
			name: "active with copies", status: ready,
			replicas: map[string]storev1.ReplicaPhase{"dcn2": published, "central": published, "dcn1": failed},
			shows:    map[string]any{"stores": "central,dcn2", "os_glance_importing_to_stores": "", "os_glance_failed_import": "dcn1"},
		},
		{
			name: "a copy that begins", status: ready, replicas: map[string]storev1.ReplicaPhase{"central": published},
			operation: &storev1.Operation{Kind: copies, Stores: []*storev1.OperationStore{{StoreId: "dcn1", State: storev1.OperationState_OPERATION_STATE_RUNNING}}},
			shows:     map[string]any{"status": "active", "os_glance_importing_to_stores": "dcn1", "os_glance_import_task": "task"},
		},
		{
			name: "active before its digests are known", status: ready, replicas: map[string]storev1.ReplicaPhase{"dcn1": published},
			change: func(i *storev1.Image) { i.Content = &storev1.Content{Id: "c", SizeBytes: 5, AdoptedFrom: "dcn1"} },
			shows:  map[string]any{"status": "active", "size": 5.0, "checksum": nil, "os_hash_algo": nil, "os_hash_value": nil},
		},
		{
			name: "deactivated", status: ready, change: func(i *storev1.Image) { i.Deactivated = true },
			replicas: map[string]storev1.ReplicaPhase{"central": published}, shows: map[string]any{"status": "deactivated", "stores": "central"},
		},
		{
			name: "being deleted", status: deleting, replicas: map[string]storev1.ReplicaPhase{"central": published},
			shows: map[string]any{"status": "pending_delete", "stores": nil},
		},
		{
			name: "stored before visibilities", status: ready, change: func(i *storev1.Image) { i.Visibility = 0 },
			shows: map[string]any{"visibility": "shared"},
		},
		{
			name: "unpacked and signed", status: ready, change: func(i *storev1.Image) {
				i.Origin = &storev1.Origin{DiskFormat: "qcow2", Compression: "gzip"}
				i.Signature = &storev1.Signature{HashMethod: "SHA-256", KeyType: "RSA-PSS", CertificateId: "c", Subject: "CN=x"}
				i.Properties = map[string]string{"atoll_signature": "forged"}
			},
			shows: map[string]any{
				"atoll_source_format": "qcow2+gzip", "atoll_signature": `{"hash_method":"SHA-256","key_type":"RSA-PSS","certificate_uuid":"c",` +
					`"certificate_sha256":"","subject":"CN=x","verified_at":"1970-01-01T00:00:00Z","trusted":false}`,
			},
		},
		{name: "deleted", status: deleted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := defaultAPI(t)
			img := active("p1", storev1.Visibility_VISIBILITY_PRIVATE)
			img.Status = tt.status
			if tt.change != nil {
				tt.change(img)
			}
			id := a.put(img)
			for store, phase := range tt.replicas {
				a.records.Put(catalog.ReplicaKey(image.ID(id), image.StoreID(store)), &storev1.Replica{
					ImageId: id, StoreId: store, SiteId: store, Phase: phase, Location: location4(store, id),
				})
			}
			if op := tt.operation; op != nil {
				op.Id, op.ImageId, op.State = "task", id, storev1.OperationState_OPERATION_STATE_RUNNING
				a.records.Put(catalog.OperationKey("task"), op)
			}
			if tt.shows == nil {
				a.want(http.StatusNotFound, "alice", "GET", "/v2/images/"+id, "")
				return
			}
			w := a.want(http.StatusOK, "alice", "GET", "/v2/images/"+id, "")
			for name, want := range tt.shows {
				if got := w.json[name]; !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %v, want %v", name, got, want)
				}
			}
		})
	}
}
