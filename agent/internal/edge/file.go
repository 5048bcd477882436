package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atoll-dcn/atoll/pkg/retry"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// The catalogue's file is a line with a name, a version and the SHA-256 of the rest in hex, then a snapshot of desired
// state as the hub would send it. It is replaced as a whole.
const (
	fileName   = "edge-catalogue"
	fileMagic  = "atoll-edge-catalogue 1 "
	headLength = len(fileMagic) + 2*sha256.Size + 1
)

// Waits of the writer.
const (
	settle    = 500 * time.Millisecond // changes that come together are written together
	restraint = 20                     // a write that took long is followed by a wait so many times as long
	longest   = time.Minute
)

// Load takes over what the file in a directory holds. A missing file is an empty catalogue, and so is a damaged one, which is
// logged: the hub sends everything again.
func (c *Catalogue) Load(dir string) {
	d, err := readFile(filepath.Join(dir, fileName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		c.log.Error("catalogue of the site not usable; it stays empty until the hub is there", "error", err)
		return
	}
	c.Apply(d)
	c.Offline() // it is no part of a session
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.changed: // what was read need not be written
	default:
	}
	c.log.Info("catalogue of the site loaded", "images", len(c.entries))
}

func readFile(path string) (*agentv1.Desired, error) {
	f, err := os.Open(path) //nolint:gosec // in the state directory
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, int64(2*maxBytes)))
	if err != nil {
		return nil, err
	}
	if len(b) < headLength || !bytes.HasPrefix(b, []byte(fileMagic)) || b[headLength-1] != '\n' {
		return nil, errors.New("the file is no catalogue of this version")
	}
	head, body := b[:headLength-1], b[headLength:]
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != string(head[len(fileMagic):]) {
		return nil, errors.New("the file is damaged")
	}
	d := &agentv1.Desired{}
	if err := proto.Unmarshal(body, d); err != nil {
		return nil, errors.New("the file is malformed")
	}
	d.Snapshot, d.More, d.Revision = true, false, 0
	return d, nil
}

// Keep writes the catalogue to its file in a directory whenever it has changed, until ctx ends, and once more then. A write
// that fails is logged and tried again.
func (c *Catalogue) Keep(ctx context.Context, dir string) error {
	path := filepath.Join(dir, fileName)
	for {
		select {
		case <-ctx.Done():
			select {
			case <-c.changed:
				c.write(path)
			default:
			}
			return nil
		case <-c.changed:
		}
		_ = retry.Sleep(ctx, settle) // cut short at the end: what is there is written
		began := time.Now()
		if !c.write(path) {
			c.signal()
		}
		_ = retry.Sleep(ctx, min(restraint*time.Since(began), longest))
	}
}

func (c *Catalogue) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// write reports whether the file has been written.
func (c *Catalogue) write(path string) bool {
	b, err := c.encode()
	if err == nil {
		err = replaceFile(path, b)
	}
	if err != nil {
		c.log.Error("catalogue of the site not written", "error", err)
	}
	return err == nil
}

// encode returns the content of the file.
func (c *Catalogue) encode() ([]byte, error) {
	d := &agentv1.Desired{Snapshot: true}
	c.mu.Lock()
	for _, e := range c.entries {
		for _, g := range e.goals {
			d.Replicas = append(d.Replicas, g)
		}
	}
	c.mu.Unlock()
	b := make([]byte, headLength, headLength+proto.Size(d))
	b, err := proto.MarshalOptions{}.MarshalAppend(b, d)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	sum := sha256.Sum256(b[headLength:])
	copy(b, fileMagic+hex.EncodeToString(sum[:])+"\n")
	return b, nil
}

// replaceFile makes b the content of a file: after a crash the file is the old or the new one, whole.
func replaceFile(path string, b []byte) (err error) {
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in the state directory
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	// The name changes only once the bytes are on disk.
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
