// Package sums keeps for each published copy its manifest and what its store should say of its chunks, see rbd.Summer, so that the
// copy can be verified at the site alone and without reading it.
//
// A list is bound to the root digest of its manifest and carries a digest of itself. One that is missing, damaged or of
// another manifest is as if there were none: the manifest comes from the hub, the copy is read, and the list made anew. A list
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

// A file is magic, root digest, length of the content, digest and sum of each chunk, and the BLAKE3 digest of all that. Integers are
// big endian.
const (
	magic      = "atollsm2"
	headerSize = len(magic) + manifest.DigestSize + 8
	entrySize  = manifest.DigestSize + 8
	suffix     = ".sums"
	tempSuffix = ".tmp"
)

// List is what is kept of a copy. Read only.
type List struct {
	Manifest *manifest.Manifest
	Sums     []uint64 // one for each chunk, 0 where it is not known
}

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

// Load returns the list of a copy whose manifest has this root digest. Nil when there is none.
func (d *Dir) Load(k journal.Key, root manifest.Digest) *List {
	f, err := os.Open(d.file(k))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || st.Size() > int64(headerSize+manifest.MaxChunks*entrySize+manifest.DigestSize) {
		return nil
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil
	}
	return decode(b, root)
}

func decode(b []byte, root manifest.Digest) *List {
	end := len(b) - manifest.DigestSize
	if end < headerSize || frame.Sum(b[:end]) != manifest.Digest(b[end:]) || string(b[:headerSize-8]) != magic+string(root[:]) {
		return nil
	}
	m := &manifest.Manifest{Length: int64(binary.BigEndian.Uint64(b[headerSize-8:]))}
	entries := b[headerSize:end]
	n := len(entries) / entrySize
	if n*entrySize != len(entries) {
		return nil
	}
	l := &List{Manifest: m, Sums: make([]uint64, n)}
	m.Chunks = make([]manifest.Digest, n)
	for i := range n {
		e := entries[i*entrySize:]
		m.Chunks[i] = manifest.Digest(e[:manifest.DigestSize])
		l.Sums[i] = binary.BigEndian.Uint64(e[manifest.DigestSize:])
	}
	if m.Verify(root, frame.Sum) != nil {
		return nil
	}
	return l
}

// Store replaces the list of a copy whose manifest has this root digest. When it returns nil the list survives a power failure.
func (d *Dir) Store(k journal.Key, root manifest.Digest, l *List) error {
	b := make([]byte, 0, headerSize+len(l.Sums)*entrySize+manifest.DigestSize)
	b = append(append(b, magic...), root[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Manifest.Length))
	for i, sum := range l.Sums {
		b = append(b, l.Manifest.Chunks[i][:]...)
		b = binary.BigEndian.AppendUint64(b, sum)
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
