package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

const (
	// downloadMessage is the size of the data in one message of a download.
	downloadMessage = 1 << 20
	// chunkWait bounds the wait for one chunk: no site may be there that could send it.
	chunkWait = 2 * time.Minute
	// mostDownloads bounds how many downloads hold a buffer of one chunk, and projectDownloads how many of one project.
	mostDownloads    = 64
	projectDownloads = 32
	// turnWait bounds how long a download waits for its turn.
	turnWait = time.Minute
)

// DownloadImage sends the bytes of an image in order.
func (s *images) DownloadImage(req *hubv1.DownloadImageRequest, stream grpc.ServerStreamingServer[hubv1.DownloadImageResponse]) error {
	found, err := s.find(stream.Context(), "id", req.GetId(), "download_image")
	if err != nil {
		return err
	}
	img, _ := s.read().Image(found.ID)
	switch {
	case !visible(img):
		return noImage(found.ID)
	case img.Status != storev1.ImageStatus_IMAGE_STATUS_ACTIVE || !img.Content.GetComplete():
		return fault.New(fault.Precondition, "NOT_ACTIVE", "image %s has no data yet", found.ID)
	case img.Deactivated && !s.admin(auth.From(stream.Context())):
		return fault.New(fault.Denied, "DEACTIVATED", "image %s is deactivated", found.ID)
	}
	give, err := s.turn(stream.Context())
	if err != nil {
		return err
	}
	defer give()
	size := img.Content.SizeBytes
	if err := stream.Send(&hubv1.DownloadImageResponse{SizeBytes: size}); err != nil {
		return err
	}
	buf := make([]byte, manifest.ChunkSize)
	for i := range manifest.Count(size) {
		chunk, err := s.chunk(stream.Context(), image.ID(img.Content.Id), i, buf)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(chunk, downloadMessage) {
			if err := stream.Send(&hubv1.DownloadImageResponse{Data: part}); err != nil {
				return err
			}
		}
	}
	return nil
}

// turn waits until one more download may hold a buffer.
func (s *images) turn(ctx context.Context) (give func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnWait, fault.New(fault.Unavailable, "TOO_MANY_DOWNLOADS",
		"%d downloads are running, or %d of your project; try again later", mostDownloads, projectDownloads))
	defer cancel()
	var project string
	if c := auth.From(ctx); c != nil {
		project = c.ProjectID
	}
	return s.downloads.Take(ctx, project)
}

func (s *images) chunk(ctx context.Context, content image.ID, index int, buf []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, chunkWait,
		fault.New(fault.Unavailable, "NO_SOURCE", "no site could send the data in time; are the sites of its stores connected?"))
	defer cancel()
	return s.Chunks.ReadChunk(ctx, content, index, buf)
}
