// Package sums keeps for each published copy what its store should say of its chunks, see rbd.Summer, so that the copy can
// be verified without reading it.
//
// A list is bound to the root digest of its manifest and carries a digest of itself. One that is missing, damaged or of
// another manifest is as if there were none: the copy is read, compared with the manifest, and the list made anew. A list
// is written beside the old one, synced, and renamed over it.
package sums

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/atoll-dcn/atoll/agent/internal/journal"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// A file is magic, root digest, number of chunks, a sum for each, and the BLAKE3 digest of all that. Integers are big endian.
const (
	magic      = "atollsm1"
	headerSize = len(magic) + manifest.DigestSize + 4
	suffix     = ".sums"
	tempSuffix = ".tmp"
)

// Dir is a directory of lists. One process at a time may use it. Lists of different copies may be used at the same time.
type Dir struct{ path string }

// OpenDir opens a directory of lists, creates it when it is missing, and removes what a crash left half made.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open directory of sums: %w", err)
	}
	temps, err := filepath.Glob(filepath.Join(path, "*"+tempSuffix))
	if err != nil {
		return nil, fmt.Errorf("open directory of sums: %w", err)
	}
	for _, t := range temps {
		if err := os.Remove(t); err != nil {
			return nil, fmt.Errorf("open directory of sums: %w", err)
		}
	}
	return &Dir{path: path}, nil
}

func (d *Dir) file(k journal.Key) string {
	return filepath.Join(d.path, string(k.Store)+"@"+string(k.Image)+suffix)
}

// Load returns the sums of a copy whose manifest has this root digest and n chunks; 0 stands for an unknown one. Nil when
// there is no such list.
func (d *Dir) Load(k journal.Key, root manifest.Digest, n int) []uint64 {
	f, err := os.Open(d.file(k))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	size := headerSize + 8*n + manifest.DigestSize
	b := make([]byte, size)
	if st, err := f.Stat(); err != nil || st.Size() != int64(size) {
		return nil
	}
	if _, err := io.ReadFull(f, b); err != nil {
		return nil
	}
	body, sum := b[:size-manifest.DigestSize], b[size-manifest.DigestSize:]
	if frame.Sum(body) != manifest.Digest(sum) || string(body[:headerSize]) != string(header(root, n)) {
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.BigEndian.Uint64(body[headerSize+8*i:])
	}
	return out
}

func header(root manifest.Digest, n int) []byte {
	b := append(make([]byte, 0, headerSize), magic...)
	b = append(b, root[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// Store replaces the list of a copy. When it returns nil the list survives a power failure.
func (d *Dir) Store(k journal.Key, root manifest.Digest, sums []uint64) error {
	b := append(make([]byte, 0, headerSize+8*len(sums)+manifest.DigestSize), header(root, len(sums))...)
	for _, s := range sums {
		b = binary.BigEndian.AppendUint64(b, s)
	}
	digest := frame.Sum(b)
	return failed(d.replace(d.file(k), append(b, digest[:]...)), "written")
}

func (d *Dir) replace(path string, b []byte) error {
	f, err := os.OpenFile(path+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+tempSuffix))
	}
	if err := os.Rename(path+tempSuffix, path); err != nil {
		return err
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Remove deletes the list of a copy. It succeeds when there is none.
func (d *Dir) Remove(k journal.Key) error {
	err := os.Remove(d.file(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return failed(err, "removed")
}

// Keys returns the copies that have lists.
func (d *Dir) Keys() ([]journal.Key, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, failed(err, "listed")
	}
	var keys []journal.Key
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		store, id, _ := strings.Cut(name, "@")
		s, err1 := image.ParseStoreID("store", store)
		i, err2 := image.ParseID("image", id)
		if err1 == nil && err2 == nil {
			keys = append(keys, journal.Key{Store: s, Image: i})
		}
	}
	return keys, nil
}

func failed(err error, what string) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Internal, "SUMS", "the sums of a copy cannot be %s", what)
}
