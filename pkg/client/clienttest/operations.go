package clienttest

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/client"
	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

type operations struct {
	hubv1.UnimplementedOperationServiceServer
	h *Hub
}

// begin starts an operation that goes through the script. The caller is inside Change.
func (h *Hub) begin(kind hubv1.OperationKind, image string, stores []string, allMustSucceed bool) *hubv1.Operation {
	op := &hubv1.Operation{
		Id: fmt.Sprintf("00000000-0000-4000-8000-%012d", len(h.Operations)+1), Kind: kind, ImageId: image,
		State: hubv1.OperationState_OPERATION_STATE_RUNNING, CreateTime: timestamppb.New(Now()), AllMustSucceed: allMustSucceed,
	}
	for _, id := range stores {
		op.Stores = append(op.Stores, &hubv1.StoreResult{StoreId: id, State: hubv1.OperationState_OPERATION_STATE_RUNNING})
	}
	h.Operations[op.GetId()] = op
	h.steps[op.GetId()] = h.script
	if len(h.script) == 0 || kind == hubv1.OperationKind_OPERATION_KIND_DELETE_IMAGE && h.Images[image].GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_ACTIVE {
		h.steps[op.GetId()] = []Step{{Do: Succeed}}
	}
	return proto.CloneOf(op)
}

// Succeed ends an operation well in every store that has not failed.
func Succeed(op *hubv1.Operation) {
	op.State, op.EndTime = hubv1.OperationState_OPERATION_STATE_SUCCEEDED, timestamppb.New(Now())
	for _, s := range op.GetStores() {
		if s.GetState() == hubv1.OperationState_OPERATION_STATE_RUNNING {
			s.State = hubv1.OperationState_OPERATION_STATE_SUCCEEDED
		}
	}
}

// FailStore returns a step in which one store fails.
func FailStore(store, reason, message string) func(*hubv1.Operation) {
	return func(op *hubv1.Operation) {
		for _, s := range op.GetStores() {
			if s.GetStoreId() == store {
				s.State = hubv1.OperationState_OPERATION_STATE_FAILED
				s.Error = &hubv1.OperationError{Reason: reason, Message: message}
			}
		}
	}
}

// FailAll returns a step in which the operation fails with a gRPC status code.
func FailAll(code int32, reason, message string) func(*hubv1.Operation) {
	return func(op *hubv1.Operation) {
		op.State, op.EndTime = hubv1.OperationState_OPERATION_STATE_FAILED, timestamppb.New(Now())
		op.Error = &hubv1.OperationError{Code: code, Reason: reason, Message: message}
	}
}

// Phase returns a step in which a store has a copy in some phase.
func Phase(store string, r *hubv1.Replica) func(*hubv1.Operation) {
	return func(op *hubv1.Operation) {
		for _, s := range op.GetStores() {
			if s.GetStoreId() == store {
				s.Replica = r
			}
		}
	}
}

// GetOperation implements the service.
func (s operations) GetOperation(_ context.Context, req *hubv1.GetOperationRequest) (*hubv1.GetOperationResponse, error) {
	op, _, err := s.get(req.GetId())
	return &hubv1.GetOperationResponse{Operation: op}, err
}

func (s operations) get(id string) (op *hubv1.Operation, changed chan struct{}, err error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	found, ok := s.h.Operations[id]
	if !ok {
		return nil, nil, fault.New(fault.NotFound, "OPERATION_NOT_FOUND", "there is no operation %s", id)
	}
	return proto.CloneOf(found), s.h.changed, nil
}

// ListOperations implements the service; the order is that of the ids.
func (s operations) ListOperations(_ context.Context, req *hubv1.ListOperationsRequest) (*hubv1.ListOperationsResponse, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	items, next, err := page(s.h.Operations, func(op *hubv1.Operation) bool {
		return (req.GetImageId() == "" || req.GetImageId() == op.GetImageId()) && (!req.GetRunningOnly() || !client.Done(op))
	}, req.GetPageToken())
	return &hubv1.ListOperationsResponse{Operations: items, NextPageToken: next}, err
}

// WatchOperation implements the service: each watch that is alive moves the operation through its script. Imports by
// upload do not move before all data is there.
func (s operations) WatchOperation(
	req *hubv1.WatchOperationRequest, stream grpc.ServerStreamingServer[hubv1.WatchOperationResponse],
) error {
	for {
		op, changed, err := s.get(req.GetId())
		if err != nil {
			return err
		}
		if err := stream.Send(&hubv1.WatchOperationResponse{Operation: op}); err != nil {
			return err
		}
		if client.Done(op) {
			return nil
		}
		gate, moved := s.move(op.GetId())
		if moved {
			continue
		}
		select {
		case <-gate:
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// move takes the next step of an operation, or returns the gate that it waits at.
func (s operations) move(id string) (gate <-chan struct{}, moved bool) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	steps, op := s.h.steps[id], s.h.Operations[id]
	if len(steps) == 0 || op.GetSourceBytesDone() < op.GetSourceBytesTotal() {
		return nil, false
	}
	if steps[0].Gate != nil {
		select {
		case <-steps[0].Gate:
		default:
			return steps[0].Gate, false
		}
	}
	s.h.steps[id] = steps[1:]
	steps[0].Do(op)
	if client.Done(op) {
		s.h.end(op)
	}
	s.h.notifyLocked()
	return nil, true
}

// CancelOperation implements the service.
func (s operations) CancelOperation(_ context.Context, req *hubv1.CancelOperationRequest) (res *hubv1.CancelOperationResponse, err error) {
	s.h.Change(func() {
		op, ok := s.h.Operations[req.GetId()]
		if !ok || client.Done(op) {
			err = fault.New(fault.Precondition, "OPERATION_DONE", "operation %s is done", req.GetId())
			return
		}
		s.h.steps[op.GetId()] = []Step{{Do: func(op *hubv1.Operation) {
			op.State, op.EndTime = hubv1.OperationState_OPERATION_STATE_CANCELLED, timestamppb.New(Now())
		}}}
		res = &hubv1.CancelOperationResponse{Operation: proto.CloneOf(op)}
	})
	return res, err
}

// end does to the records what an operation that is done has done. The caller is inside Change.
func (h *Hub) end(op *hubv1.Operation) {
	img := h.Images[op.GetImageId()]
	if img == nil {
		return
	}
	succeeded := op.GetState() == hubv1.OperationState_OPERATION_STATE_SUCCEEDED
	switch op.GetKind() {
	case hubv1.OperationKind_OPERATION_KIND_DELETE_IMAGE:
		if succeeded {
			delete(h.Images, img.GetId())
		}
	case hubv1.OperationKind_OPERATION_KIND_IMPORT, hubv1.OperationKind_OPERATION_KIND_COPY, hubv1.OperationKind_OPERATION_KIND_ADOPT:
		img.ImportingToStores = nil
		for _, s := range op.GetStores() {
			switch s.GetState() {
			case hubv1.OperationState_OPERATION_STATE_SUCCEEDED:
				img.Stores = append(img.Stores, s.GetStoreId())
				img.Locations = append(img.Locations, &hubv1.Location{
					Store: s.GetStoreId(), Url: "rbd://f-" + s.GetStoreId() + "/images/" + img.GetId() + "/snap",
				})
			case hubv1.OperationState_OPERATION_STATE_FAILED:
				img.FailedImport = append(img.FailedImport, s.GetStoreId())
			default:
			}
		}
		slices.Sort(img.GetStores())
		switch {
		case len(img.GetStores()) > 0:
			img.Status = hubv1.ImageStatus_IMAGE_STATUS_ACTIVE
		case h.staged[img.GetId()]:
			img.Status = hubv1.ImageStatus_IMAGE_STATUS_UPLOADING
		default:
			img.Status = hubv1.ImageStatus_IMAGE_STATUS_QUEUED
		}
	case hubv1.OperationKind_OPERATION_KIND_DELETE_REPLICA:
		if succeeded {
			delete(h.Replicas, img.GetId()+"/"+op.GetStores()[0].GetStoreId())
		}
	default:
	}
}
