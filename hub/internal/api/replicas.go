package api

import (
	"context"
	"slices"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// replicas implements atoll.hub.v1.ReplicaService.
type replicas struct {
	hubv1.UnimplementedReplicaServiceServer
	*view
}

// key returns the two parts of a replica's name, if the caller may apply the rule to its image.
func (s *replicas) key(ctx context.Context, img, store, rule string) (image.ID, image.StoreID, error) {
	found, err := s.find(ctx, "image_id", img, rule)
	if err != nil {
		return "", "", err
	}
	id, err := image.ParseStoreID("store_id", store)
	return found.ID, id, err
}

func (s *replicas) ReplicateImage(ctx context.Context, req *hubv1.ReplicateImageRequest) (*hubv1.ReplicateImageResponse, error) {
	img, err := s.find(ctx, "image_id", req.GetImageId(), "copy_image")
	if err != nil {
		return nil, err
	}
	t := target(req.GetTarget())
	t.Priority = storev1.Priority(req.GetPriority())
	op, err := s.Catalog.Replicate(ctx, img.ID, t, "")
	if err != nil {
		return nil, err
	}
	return &hubv1.ReplicateImageResponse{Operation: s.operationMessage(auth.From(ctx), op)}, nil
}

func (s *replicas) GetReplica(ctx context.Context, req *hubv1.GetReplicaRequest) (*hubv1.GetReplicaResponse, error) {
	id, store, err := s.key(ctx, req.GetImageId(), req.GetStoreId(), "get_image")
	if err != nil {
		return nil, err
	}
	r, _ := s.read().Replica(id, store)
	if r == nil {
		return nil, fault.New(fault.NotFound, "REPLICA_NOT_FOUND", "image %s is not in store %s", id, store)
	}
	return &hubv1.GetReplicaResponse{Replica: s.replicaMessage(auth.From(ctx), r)}, nil
}

func (s *replicas) ListReplicas(ctx context.Context, req *hubv1.ListReplicasRequest) (*hubv1.ListReplicasResponse, error) {
	all, err := s.selectReplicas(req.GetImageId(), req.GetStoreId())
	if err != nil {
		return nil, err
	}
	c := auth.From(ctx)
	key := func(r *storev1.Replica) string { return r.ImageId + "/" + r.StoreId }
	list := "replicas/" + req.GetImageId() + "/" + req.GetStoreId()
	found, next, err := page(all, key, false, s.replicaFilter(c), list, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &hubv1.ListReplicasResponse{NextPageToken: next}
	for _, r := range found {
		out.Replicas = append(out.Replicas, s.replicaMessage(c, r))
	}
	return out, nil
}

// selectReplicas returns the replicas of an image, in a store, of both or all, sorted by image, then store.
func (s *replicas) selectReplicas(img, store string) ([]*storev1.Replica, error) {
	var out []*storev1.Replica
	switch {
	case img != "":
		id, err := image.ParseID("image_id", img)
		if err != nil {
			return nil, err
		}
		out, _ = s.read().Replicas(id)
		if store != "" {
			out = slices.DeleteFunc(out, func(r *storev1.Replica) bool { return r.StoreId != store })
		}
	case store != "":
		id, err := image.ParseStoreID("store_id", store)
		if err != nil {
			return nil, err
		}
		out = s.read().StoreReplicas(id)
	default:
		ids := s.read().Images()
		slices.SortFunc(ids, func(a, b *storev1.Image) int {
			if a.Id < b.Id {
				return -1
			}
			return 1
		})
		for _, i := range ids {
			of, _ := s.read().Replicas(image.ID(i.Id))
			out = append(out, of...)
		}
	}
	return out, nil
}

// replicaFilter says which copies the caller may know of: those of visible images. It is asked image by image.
func (s *replicas) replicaFilter(c *auth.Caller) func(*storev1.Replica) bool {
	last, seen := "", false
	return func(r *storev1.Replica) bool {
		if r.ImageId != last {
			last, seen = r.ImageId, s.sees(c, s.Images.Image(image.ID(r.ImageId)))
		}
		return seen
	}
}

func (s *replicas) DeleteReplica(ctx context.Context, req *hubv1.DeleteReplicaRequest) (*hubv1.DeleteReplicaResponse, error) {
	id, store, err := s.key(ctx, req.GetImageId(), req.GetStoreId(), "delete_image_location")
	if err != nil {
		return nil, err
	}
	op, err := s.Catalog.DeleteReplica(ctx, id, store)
	if err != nil {
		return nil, err
	}
	return &hubv1.DeleteReplicaResponse{Operation: s.operationMessage(auth.From(ctx), op)}, nil
}

func (s *replicas) RetryReplica(ctx context.Context, req *hubv1.RetryReplicaRequest) (*hubv1.RetryReplicaResponse, error) {
	id, store, err := s.key(ctx, req.GetImageId(), req.GetStoreId(), "copy_image")
	if err != nil {
		return nil, err
	}
	op, err := s.Catalog.RetryReplica(ctx, id, store)
	if err != nil {
		return nil, err
	}
	return &hubv1.RetryReplicaResponse{Operation: s.operationMessage(auth.From(ctx), op)}, nil
}

func (s *replicas) VerifyReplica(ctx context.Context, req *hubv1.VerifyReplicaRequest) (*hubv1.VerifyReplicaResponse, error) {
	id, store, err := s.key(ctx, req.GetImageId(), req.GetStoreId(), "get_image")
	if err != nil {
		return nil, err
	}
	if err := s.require(auth.From(ctx), ruleOperations, nil); err != nil {
		return nil, err
	}
	op, err := s.Catalog.VerifyReplica(ctx, id, store)
	if err != nil {
		return nil, err
	}
	return &hubv1.VerifyReplicaResponse{Operation: s.operationMessage(auth.From(ctx), op)}, nil
}
