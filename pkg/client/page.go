package client

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/fault"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// AllImages yields every image that the request selects, page after page. The first error ends it. The request is not
// changed; its page token is ignored.
func (c *Client) AllImages(ctx context.Context, req *hubv1.ListImagesRequest) iter.Seq2[*hubv1.Image, error] {
	req = proto.CloneOf(req)
	return pages(func(token string) ([]*hubv1.Image, string, error) {
		req.PageToken = token
		res, err := c.Images.ListImages(ctx, req)
		return res.GetImages(), res.GetNextPageToken(), err
	})
}

// AllReplicas is AllImages for copies.
func (c *Client) AllReplicas(ctx context.Context, req *hubv1.ListReplicasRequest) iter.Seq2[*hubv1.Replica, error] {
	req = proto.CloneOf(req)
	return pages(func(token string) ([]*hubv1.Replica, string, error) {
		req.PageToken = token
		res, err := c.Replicas.ListReplicas(ctx, req)
		return res.GetReplicas(), res.GetNextPageToken(), err
	})
}

// AllOperations is AllImages for operations.
func (c *Client) AllOperations(ctx context.Context, req *hubv1.ListOperationsRequest) iter.Seq2[*hubv1.Operation, error] {
	req = proto.CloneOf(req)
	return pages(func(token string) ([]*hubv1.Operation, string, error) {
		req.PageToken = token
		res, err := c.Operations.ListOperations(ctx, req)
		return res.GetOperations(), res.GetNextPageToken(), err
	})
}

// AllSites is AllImages for sites.
func (c *Client) AllSites(ctx context.Context) iter.Seq2[*hubv1.Site, error] {
	return pages(func(token string) ([]*hubv1.Site, string, error) {
		res, err := c.Sites.ListSites(ctx, &hubv1.ListSitesRequest{PageToken: token})
		return res.GetSites(), res.GetNextPageToken(), err
	})
}

// AllStores is AllImages for stores.
func (c *Client) AllStores(ctx context.Context) iter.Seq2[*hubv1.Store, error] {
	return pages(func(token string) ([]*hubv1.Store, string, error) {
		res, err := c.Stores.ListStores(ctx, &hubv1.ListStoresRequest{PageToken: token})
		return res.GetStores(), res.GetNextPageToken(), err
	})
}

// pages yields the items of all pages. A token that repeats ends it with an error instead of never ending.
func pages[T any](fetch func(token string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for token := ""; ; {
			items, next, err := fetch(token)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if next == token {
				yield(none, fault.New(fault.Unavailable, "PAGE_REPEATED", "the hub answered the same page twice"))
				return
			}
			token = next
		}
	}
}
