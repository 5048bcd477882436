package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Key names a journal.
type Key struct {
	Store image.StoreID
	Image image.ID
}

const (
	suffix     = ".journal"
	tempSuffix = ".tmp"
)

func (k Key) file() string { return string(k.Store) + "@" + string(k.Image) + suffix }

// Dir is a directory of journals. One process at a time may use it.
type Dir struct{ path string }

// OpenDir opens a directory of journals, creates it when it is missing, and removes what a crash left half made.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open journal directory: %w", err)
	}
	temps, err := filepath.Glob(filepath.Join(path, "*"+tempSuffix))
	if err != nil {
		return nil, fmt.Errorf("open journal directory: %w", err)
	}
	for _, t := range temps {
		if err := os.Remove(t); err != nil {
			return nil, fmt.Errorf("open journal directory: %w", err)
		}
	}
	return &Dir{path: path}, nil
}

// Open opens the journal of an image whose content is being written, with what it knows of earlier attempts. A missing,
// damaged or foreign journal starts empty. A journal may be open once at a time. The caller closes it.
func (d *Dir) Open(k Key, content image.ID) (*Journal, error) {
	if len(content) != idSize {
		return nil, fault.New(fault.Internal, "JOURNAL", "content id has %d characters", len(content))
	}
	old, err := d.load(k, content)
	if err != nil {
		return nil, err
	}
	if old.old || old.bad > 0 || old.torn || old.records == 0 || old.records > 2*old.live.n+pageSize {
		// Written anew beside the old one and renamed over it, so that a crash leaves one or the other.
		if err := d.rewrite(k, content, old.live); err != nil {
			return nil, err
		}
		old.records = old.live.n
	}
	f, err := os.OpenFile(filepath.Join(d.path, k.file()), os.O_RDWR, 0)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be opened")
	}
	_, seed := header(content)
	return &Journal{file: f, seed: seed, end: int64(headerSize + old.records*recordSize), live: old.live}, nil
}

func (d *Dir) load(k Key, content image.ID) (loaded, error) {
	f, err := os.Open(filepath.Join(d.path, k.file()))
	if errors.Is(err, fs.ErrNotExist) {
		return loaded{live: newTable()}, nil
	}
	if err != nil {
		return loaded{}, fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be opened")
	}
	defer func() { _ = f.Close() }()
	out, err := decode(f, content)
	if fault.Is(err, fault.Corrupt) {
		return loaded{live: newTable()}, nil
	}
	return out, err
}

func (d *Dir) rewrite(k Key, content image.ID, live *table) (err error) {
	path := filepath.Join(d.path, k.file())
	f, err := os.OpenFile(path+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be created")
	}
	w := bufio.NewWriter(f) // keeps its first error until Flush
	head, seed := header(content)
	_, _ = w.Write(head)
	var rec []byte
	live.each(func(i int, e entry) {
		rec = appendRecord(rec[:0], seed, i, e)
		_, _ = w.Write(rec)
	})
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be created")
	}
	if err := os.Rename(path+tempSuffix, path); err != nil {
		return fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be created")
	}
	return nil
}

// Remove deletes a journal that is not open. It succeeds when there is none.
func (d *Dir) Remove(k Key) error {
	err := os.Remove(filepath.Join(d.path, k.file()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be removed")
	}
	return nil
}

// Keys returns the names of all journals.
func (d *Dir) Keys() ([]Key, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "JOURNAL", "the journals cannot be listed")
	}
	var keys []Key
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		store, id, ok := strings.Cut(name, "@")
		if !ok {
			continue
		}
		s, err1 := image.ParseStoreID("store", store)
		i, err2 := image.ParseID("image", id)
		if err1 == nil && err2 == nil {
			keys = append(keys, Key{Store: s, Image: i})
		}
	}
	return keys, nil
}
