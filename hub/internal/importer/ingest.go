package importer

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"sync/atomic"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// ingest reads a source to its end into the staging area and returns what is known of the content then. Data that is not
// what it should be, or not safe, ends it before the content is complete.
func (im *Importer) ingest(ctx context.Context, s source, a *arrival) (*storev1.Content, error) {
	hashes := []hash.Hash{md5.New(), sha512.New()}
	if s.sum.Algorithm == "sha256" {
		hashes = append(hashes, s.sum.Hash())
	}
	sums := startSums(hashes...)
	defer sums.stop()
	body := s.open(ctx)
	look := im.inspection(a.image)
	var length int64
	for {
		buf := sums.buffer()
		n, last, err := fill(body, buf)
		if ctx.Err() != nil { // nobody wants the rest any more
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		length += int64(n)
		if err := im.checkSize(length, s.size, last); err != nil {
			return nil, err
		}
		if err := im.checkQuota(a, length, last); err != nil {
			return nil, err
		}
		if n > 0 {
			if err := look.add(buf[:n]); err != nil {
				return nil, err
			}
			sums.add(buf[:n])
			if err := s.writer.Append(ctx, buf[:n]); err != nil {
				return nil, err
			}
		}
		if last {
			break
		}
	}
	digests := sums.finish()
	if err := s.verify(digests); err != nil {
		return nil, err
	}
	virtual, err := look.finish(length)
	if err != nil {
		return nil, err
	}
	root, data, err := s.writer.Commit(ctx, length)
	if err != nil {
		return nil, err
	}
	return &storev1.Content{
		Id: string(s.content), Complete: true, SizeBytes: length, ManifestDigest: root[:],
		Md5: digests[0], Sha512: digests[1], DataBytes: data, VirtualSizeBytes: virtual,
	}, nil
}

// verify compares the digests of all bytes, which are MD5, SHA-512 and perhaps SHA-256, with what they should be. No site
// publishes anything before.
func (s source) verify(digests []string) error {
	digest := digests[1]
	if s.sum.Algorithm == "sha256" {
		digest = digests[2]
	}
	if err := s.sum.Check(digest); err != nil {
		return err
	}
	if s.told == nil || s.told().Algorithm != "sha512" {
		return nil
	}
	return s.told().Check(digests[1])
}

// idleReads is how many empty reads in a row a source may answer before it counts as broken.
const idleReads = 100

// fill reads until buf is full or the source has ended. Only io.EOF itself is the end: a body that was cut answers
// io.ErrUnexpectedEOF.
func fill(r io.Reader, buf []byte) (n int, last bool, err error) {
	for idle := 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		n += m
		switch {
		case err == io.EOF: //nolint:errorlint // an EOF inside another error tells of a source that broke
			return n, true, nil
		case err != nil:
			return n, false, err
		case m > 0:
			idle = 0
		default:
			if idle++; idle == idleReads {
				return n, false, io.ErrNoProgress
			}
		}
	}
	return n, false, nil
}

// ReasonEmpty is the reason of an import whose source has no bytes.
const ReasonEmpty = "EMPTY_IMAGE"

// checkSize compares the bytes read so far with what was announced and with the limits.
func (im *Importer) checkSize(length, expected int64, last bool) error {
	most := im.largest()
	switch {
	case last && length == 0:
		return fault.New(fault.Invalid, ReasonEmpty, "the image data is empty")
	case length > most:
		return fault.New(fault.Exhausted, "IMAGE_TOO_LARGE", "the image is larger than the limit of %d bytes", most)
	case expected > 0 && (length > expected || last && length < expected):
		return fault.New(fault.Invalid, "SIZE_MISMATCH", "%d bytes were announced, %d or more came", expected, length)
	}
	return nil
}

// sums computes several digests of one stream, each in a goroutine of its own: MD5 and SHA-512 together take longer than
// everything else an import does.
type sums struct {
	hashes []hash.Hash
	feeds  []chan *chunk
	done   chan struct{}
	free   chan *chunk
	now    *chunk
	closed bool
}

// chunk is a buffer that several hashes read.
type chunk struct {
	buf  []byte
	used []byte
	left atomic.Int32
}

// chunksAhead is how many chunks a slow hash may lag behind.
const chunksAhead = 4

func startSums(hashes ...hash.Hash) *sums {
	s := &sums{hashes: hashes, done: make(chan struct{}, len(hashes)), free: make(chan *chunk, chunksAhead)}
	for range chunksAhead {
		s.free <- &chunk{buf: make([]byte, manifest.ChunkSize)}
	}
	for _, h := range hashes {
		feed := make(chan *chunk, chunksAhead)
		s.feeds = append(s.feeds, feed)
		go func() {
			for c := range feed {
				_, _ = h.Write(c.used) // a hash never fails
				s.release(c)
			}
			s.done <- struct{}{}
		}()
	}
	return s
}

func (s *sums) release(c *chunk) {
	if c.left.Add(-1) == 0 {
		s.free <- c
	}
}

// buffer returns the next buffer to read into; it waits for the slowest hash. The previous buffer is not touched by the
// caller any more.
func (s *sums) buffer() []byte {
	if s.now != nil {
		s.release(s.now)
	}
	s.now = <-s.free
	s.now.left.Store(1)
	return s.now.buf
}

// add hands the bytes read into the latest buffer to the hashes. The caller may go on reading them until buffer.
func (s *sums) add(p []byte) {
	s.now.used = p
	s.now.left.Add(int32(len(s.feeds)))
	for _, f := range s.feeds {
		f <- s.now
	}
}

// finish returns the digests in hex.
func (s *sums) finish() []string {
	s.stop()
	var out []string
	for _, h := range s.hashes {
		out = append(out, hex.EncodeToString(h.Sum(nil)))
	}
	return out
}

// stop ends the goroutines and waits for them. It may be called again.
func (s *sums) stop() {
	if s.closed {
		return
	}
	s.closed = true
	for _, f := range s.feeds {
		close(f)
	}
	for range s.feeds {
		<-s.done
	}
}
