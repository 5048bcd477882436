package api

import (
	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/rpc"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// mostWatches bounds the watches of images, each of which remembers the ids of all that it has sent, and projectWatches
// those of one project.
const (
	mostWatches    = 256
	projectWatches = 64
)

// WatchImages sends every image that the caller may see, then what changes; one that becomes invisible is gone for it. A slow
// reader sees the latest state of an image, not every step.
func (s *images) WatchImages(req *hubv1.WatchImagesRequest, stream grpc.ServerStreamingServer[hubv1.WatchImagesResponse]) error {
	if req.GetId() != "" {
		if _, err := image.ParseID("id", req.GetId()); err != nil {
			return err
		}
	}
	c := auth.From(stream.Context())
	if err := s.require(c, "get_images", ownProject(c)); err != nil {
		return err
	}
	done, ok := s.watches.Try(c.ProjectID)
	if !ok {
		return fault.New(fault.Exhausted, "TOO_MANY_WATCHES", "%d watches of images are running, or %d of your project", mostWatches, projectWatches)
	}
	defer done()
	expired, stop := s.expiry(stream.Context())
	defer stop()
	sub := s.Catalog.Subscribe()
	defer sub.Close()
	w := &imageWatch{images: s, caller: c, stream: stream, only: req.GetId(), known: map[string]bool{}}
	if err := w.sendAll(); err != nil {
		return err
	}
	if err := stream.Send(&hubv1.WatchImagesResponse{Event: hubv1.WatchEvent_WATCH_EVENT_SYNCED}); err != nil {
		return err
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-rpc.Stopping(stream.Context()):
			return errStopping
		case <-expired:
			return errExpired
		case <-sub.C():
			if err := w.sendChanged(sub.Take()); err != nil {
				return err
			}
		}
	}
}

// imageWatch is one watch; known holds the images the watcher knows of.
type imageWatch struct {
	*images
	caller *auth.Caller
	stream grpc.ServerStreamingServer[hubv1.WatchImagesResponse]
	only   string
	known  map[string]bool
}

func (w *imageWatch) sendAll() error {
	done := map[string]bool{}
	for _, img := range w.read().Images() {
		done[img.Id] = true
		if err := w.send(img.Id); err != nil {
			return err
		}
	}
	for id := range w.known { // those that are gone
		if done[id] {
			continue
		}
		if err := w.send(id); err != nil {
			return err
		}
	}
	return nil
}

func (w *imageWatch) sendChanged(keys []catalog.Key, reset bool) error {
	if reset {
		return w.sendAll()
	}
	done := map[string]bool{}
	for _, k := range keys {
		id := string(k.Image)
		if k.Kind == catalog.KindImage {
			id = k.ID
		} else if k.Kind != catalog.KindReplica {
			continue
		}
		if done[id] {
			continue
		}
		done[id] = true
		if err := w.send(id); err != nil {
			return err
		}
	}
	return nil
}

// send tells the watcher what an image is now.
func (w *imageWatch) send(id string) error {
	if w.only != "" && id != w.only {
		return nil
	}
	img, rev := w.read().Image(image.ID(id))
	if visible(img) && w.sees(w.caller, w.Images.Image(image.ID(id))) {
		w.known[id] = true
		return w.stream.Send(&hubv1.WatchImagesResponse{Event: hubv1.WatchEvent_WATCH_EVENT_UPSERT, Image: w.imageMessage(w.caller, img, rev)})
	}
	if !w.known[id] {
		return nil
	}
	delete(w.known, id)
	return w.stream.Send(&hubv1.WatchImagesResponse{Event: hubv1.WatchEvent_WATCH_EVENT_DELETE, Image: &hubv1.Image{Id: id}})
}
