package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// operations implements atoll.hub.v1.OperationService.
type operations struct {
	hubv1.UnimplementedOperationServiceServer
	*view
}

// errStopping ends long calls when the hub stops, so that clients ask the next one.
var errStopping = fault.New(fault.Unavailable, "HUB_STOPPING", "the hub is stopping")

// operation returns an operation that the caller may know of.
func (s *operations) operation(ctx context.Context, id string) (*storev1.Operation, error) {
	key, err := image.ParseID("id", id)
	if err != nil {
		return nil, err
	}
	o, _ := s.read().Operation(key)
	if o == nil || !s.seesOperation(auth.From(ctx), o) {
		return nil, fault.New(fault.NotFound, "OPERATION_NOT_FOUND", "no operation %s", key)
	}
	return o, nil
}

func (s *operations) GetOperation(ctx context.Context, req *hubv1.GetOperationRequest) (*hubv1.GetOperationResponse, error) {
	o, err := s.operation(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return &hubv1.GetOperationResponse{Operation: s.operationMessage(auth.From(ctx), o)}, nil
}

func (s *operations) ListOperations(ctx context.Context, req *hubv1.ListOperationsRequest) (*hubv1.ListOperationsResponse, error) {
	if req.GetImageId() != "" {
		if _, err := image.ParseID("image_id", req.GetImageId()); err != nil {
			return nil, err
		}
	}
	c := auth.From(ctx)
	wanted := func(o *storev1.Operation) bool {
		return (req.GetImageId() == "" || o.ImageId == req.GetImageId()) && (!req.GetRunningOnly() || isRunning(o)) && s.seesOperation(c, o)
	}
	key := func(o *storev1.Operation) string {
		return fmt.Sprintf("%020d/%s", o.CreateTime.AsTime().UnixNano(), o.Id)
	}
	list := fmt.Sprintf("operations/%s/%t", req.GetImageId(), req.GetRunningOnly())
	found, next, err := page(s.read().Operations(), key, true, wanted, list, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &hubv1.ListOperationsResponse{NextPageToken: next}
	for _, o := range found {
		out.Operations = append(out.Operations, s.operationMessage(c, o))
	}
	return out, nil
}

func isRunning(o *storev1.Operation) bool {
	return o.State == storev1.OperationState_OPERATION_STATE_RUNNING
}

func (s *operations) WaitOperation(ctx context.Context, req *hubv1.WaitOperationRequest) (*hubv1.WaitOperationResponse, error) {
	sub := s.Catalog.Subscribe()
	defer sub.Close()
	tokenExpired, stop := s.expiry(ctx)
	defer stop()
	var expired <-chan time.Time
	if req.GetTimeout() != nil {
		d := req.GetTimeout().AsDuration()
		if d < 0 {
			return nil, fault.BadField("timeout", "is negative")
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		o, err := s.operation(ctx, req.GetId())
		if err != nil {
			return nil, err
		}
		if !isRunning(o) {
			return &hubv1.WaitOperationResponse{Operation: s.operationMessage(auth.From(ctx), o)}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-rpc.Stopping(ctx):
			return nil, errStopping
		case <-tokenExpired:
			return nil, errExpired
		case <-expired:
			return &hubv1.WaitOperationResponse{Operation: s.operationMessage(auth.From(ctx), o)}, nil
		case <-sub.C():
			sub.Take()
		}
	}
}

// progressInterval is the shortest time between two messages of WatchOperation.
const progressInterval = 250 * time.Millisecond

func (s *operations) WatchOperation(req *hubv1.WatchOperationRequest, stream grpc.ServerStreamingServer[hubv1.WatchOperationResponse]) error {
	sub := s.Catalog.Subscribe()
	defer sub.Close()
	tick := time.NewTicker(progressInterval) // progress is not a record: it is looked at
	defer tick.Stop()
	ctx := stream.Context()
	expired, stop := s.expiry(ctx)
	defer stop()
	var last *hubv1.Operation
	for {
		o, err := s.operation(ctx, req.GetId())
		if err != nil {
			return err
		}
		m := s.operationMessage(auth.From(ctx), o)
		if !proto.Equal(m, last) {
			if err := stream.Send(&hubv1.WatchOperationResponse{Operation: m}); err != nil {
				return err
			}
			last = m
		}
		if !isRunning(o) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rpc.Stopping(ctx):
			return errStopping
		case <-expired:
			return errExpired
		case <-tick.C:
			select {
			case <-sub.C():
				sub.Take()
			default:
			}
		}
	}
}

func (s *operations) CancelOperation(ctx context.Context, req *hubv1.CancelOperationRequest) (*hubv1.CancelOperationResponse, error) {
	o, err := s.operation(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	c := auth.From(ctx)
	if err := s.mayCancel(c, o); err != nil {
		return nil, err
	}
	if err := s.Catalog.Cancel(ctx, image.ID(o.Id)); err != nil {
		return nil, err
	}
	if o, err = s.operation(ctx, req.GetId()); err != nil {
		return nil, err
	}
	return &hubv1.CancelOperationResponse{Operation: s.operationMessage(c, o)}, nil
}

// starters are the rules by which operations are started: whoever may start one may also stop it.
var starters = map[storev1.OperationKind]string{
	storev1.OperationKind_OPERATION_KIND_IMPORT:         "modify_image",
	storev1.OperationKind_OPERATION_KIND_STAGE:          "modify_image",
	storev1.OperationKind_OPERATION_KIND_COPY:           "copy_image",
	storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE:   "delete_image",
	storev1.OperationKind_OPERATION_KIND_DELETE_REPLICA: "delete_image_location",
	storev1.OperationKind_OPERATION_KIND_ADOPT:          "add_image_location",
}

// mayCancel returns nil when the caller, who sees the operation, may also stop it.
func (s *operations) mayCancel(c *auth.Caller, o *storev1.Operation) error {
	denied := s.require(c, ruleOperations, nil)
	if denied == nil {
		return nil
	}
	rule, img := starters[o.Kind], s.Images.Image(image.ID(o.ImageId))
	if rule == "" || img == nil || s.authorize(c, img, rule) != nil {
		return denied
	}
	return nil
}
