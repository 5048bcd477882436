package clienttest

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

type replicas struct {
	hubv1.UnimplementedReplicaServiceServer
	h *Hub
}

// begin starts an operation on one copy.
func (s replicas) begin(kind hubv1.OperationKind, image, store string) (op *hubv1.Operation, err error) {
	s.h.Change(func() {
		if s.h.Replicas[image+"/"+store] == nil {
			err = fault.New(fault.NotFound, "REPLICA_NOT_FOUND", "image %s has no copy in %s", image, store)
			return
		}
		op = s.h.begin(kind, image, []string{store}, false)
	})
	return op, err
}

// ReplicateImage implements the service.
func (s replicas) ReplicateImage(_ context.Context, req *hubv1.ReplicateImageRequest) (res *hubv1.ReplicateImageResponse, err error) {
	s.h.Change(func() {
		img, findErr := s.h.image(req.GetImageId())
		if findErr != nil {
			err = findErr
			return
		}
		var ids []string
		for id := range s.h.Stores {
			named := slices.Contains(req.GetTarget().GetStores(), id)
			has := slices.Contains(img.GetStores(), id)
			if named && has {
				err = fault.New(fault.Exists, "REPLICA_EXISTS", "the image has a copy in %s", id)
				return
			}
			if named || req.GetTarget().GetAllStores() && !has {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		res = &hubv1.ReplicateImageResponse{
			Operation: s.h.begin(hubv1.OperationKind_OPERATION_KIND_COPY, img.GetId(), ids, req.GetTarget().GetAllMustSucceed()),
		}
	})
	return res, err
}

// GetReplica implements the service.
func (s replicas) GetReplica(_ context.Context, req *hubv1.GetReplicaRequest) (*hubv1.GetReplicaResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	r, ok := s.h.Replicas[req.GetImageId()+"/"+req.GetStoreId()]
	if !ok {
		return nil, fault.New(fault.NotFound, "REPLICA_NOT_FOUND", "image %s has no copy in %s", req.GetImageId(), req.GetStoreId())
	}
	return &hubv1.GetReplicaResponse{Replica: proto.CloneOf(r)}, nil
}

// ListReplicas implements the service.
func (s replicas) ListReplicas(_ context.Context, req *hubv1.ListReplicasRequest) (*hubv1.ListReplicasResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	items, next, err := page(s.h.Replicas, func(r *hubv1.Replica) bool {
		return (req.GetImageId() == "" || req.GetImageId() == r.GetImageId()) &&
			(req.GetStoreId() == "" || req.GetStoreId() == r.GetStoreId())
	}, req.GetPageToken())
	return &hubv1.ListReplicasResponse{Replicas: items, NextPageToken: next}, err
}

// DeleteReplica implements the service.
func (s replicas) DeleteReplica(_ context.Context, req *hubv1.DeleteReplicaRequest) (*hubv1.DeleteReplicaResponse, error) {
	op, err := s.begin(hubv1.OperationKind_OPERATION_KIND_DELETE_REPLICA, req.GetImageId(), req.GetStoreId())
	return &hubv1.DeleteReplicaResponse{Operation: op}, err
}

// RetryReplica implements the service.
func (s replicas) RetryReplica(_ context.Context, req *hubv1.RetryReplicaRequest) (*hubv1.RetryReplicaResponse, error) {
	op, err := s.begin(hubv1.OperationKind_OPERATION_KIND_COPY, req.GetImageId(), req.GetStoreId())
	return &hubv1.RetryReplicaResponse{Operation: op}, err
}

// VerifyReplica implements the service.
func (s replicas) VerifyReplica(_ context.Context, req *hubv1.VerifyReplicaRequest) (*hubv1.VerifyReplicaResponse, error) {
	op, err := s.begin(hubv1.OperationKind_OPERATION_KIND_VERIFY, req.GetImageId(), req.GetStoreId())
	return &hubv1.VerifyReplicaResponse{Operation: op}, err
}
