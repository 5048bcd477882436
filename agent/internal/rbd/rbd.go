// Package rbd is the seam between the agent and the storage of a site: a pool of block images with snapshots.
//
// Two drivers implement it: cephrbd (librbd; the only cgo in Atoll) and filerbd (sparse files, for machines without
// Ceph). Package rbdtest is the conformance suite that both pass.
//
// Errors are fault errors: NotFound for a missing image or snapshot, Exists for a taken name, Exhausted with reason
// NO_SPACE, Denied with reason NO_ACCESS (key without rights), Precondition with reason POOL_MISSING, Precondition with
// reason IN_USE for an image that has clones or watchers, Unavailable with reason STORE_UNREACHABLE when the cluster does
// not answer in time. Blocking calls return when ctx is done even where the work underneath cannot be cancelled; the
// driver bounds how many such abandoned calls it keeps.
package rbd

import (
	"context"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// SnapshotName is the name of the snapshot that every published image carries, fixed by Glance's RBD store.
const SnapshotName = "snap"

// Info describes a pool.
type Info struct {
	FSID       string // id of the cluster
	Pool       string // name of the pool
	TotalBytes int64  // capacity; 0 when the cluster does not say (a Ceph cluster without a manager)
	FreeBytes  int64  // meaningless when TotalBytes is 0
}

// Pool is one store. Methods may be called at the same time from several goroutines.
type Pool interface {
	Names
	Images
	// Driver returns "ceph" or "file".
	Driver() string
	// Info asks the cluster who it is and how full. It doubles as the health check.
	Info(ctx context.Context) (Info, error)
	// Close releases the connection after all images and snapshots are closed.
	Close() error
}

// Names changes which images exist.
type Names interface {
	// List returns the names of all images of the pool.
	List(ctx context.Context) ([]string, error)
	// Rename gives an image a new name; Exists when the new name is taken. Atomic.
	Rename(ctx context.Context, from, to string) error
	// Remove deletes an image with its snapshot. NotFound when there is none. The caller has checked for children.
	// When a clone appeared meanwhile, the image is kept where the clone needs it, out of sight, and Remove succeeds.
	Remove(ctx context.Context, name string) error
	// Children returns how many clones depend on the image's snapshot; 0 when there is no snapshot.
	Children(ctx context.Context, name string) (int, error)
}

// Images opens images.
type Images interface {
	// Create makes an empty image of size bytes (at least 1) and opens it for writing.
	Create(ctx context.Context, name string, size int64) (Image, error)
	// Open opens an existing image for writing.
	Open(ctx context.Context, name string) (Image, error)
	// OpenSnapshot opens the snapshot of an image for reading. NotFound when image or snapshot is missing.
	OpenSnapshot(ctx context.Context, name string) (Snapshot, error)
}

// Reader reads an image or a snapshot.
type Reader interface {
	// Size returns the length in bytes.
	Size() int64
	// ReadAt fills p from offset off; reading past the end is an error. Safe for concurrent use.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Extents calls f for each range that may hold data, in ascending order, widened to whole manifest chunks (4 MiB) and
	// clipped to the size. Ranges that are not reported read as zeroes.
	Extents(ctx context.Context, f func(off, length int64) error) error
	// Close releases the handle. Calls after the first do nothing.
	Close() error
}

// Snapshot is an immutable image.
type Snapshot interface {
	Reader
	// Meta returns a value stored with SetMeta on the image; empty when there is none.
	Meta(ctx context.Context, key string) (string, error)
	Summer
}

// Summer sums up chunks where they are kept, so that their bytes do not move.
type Summer interface {
	// Sum returns the xxHash64 with seed 0 of what the store holds of the manifest chunk (4 MiB) with number i, from its first
	// byte on; of an image that is being written, the sum of now. That may be less than the chunk: what is not held behind it
	// reads as zeroes. So an equal sum of the same bytes proves them, one of other bytes nothing. held is false when the store
	// holds nothing of the chunk, which reads as zeroes then. Fails with Precondition NO_SUMS when the store cannot do that for this image. Safe for concurrent use.
	Sum(ctx context.Context, i int) (sum uint64, held bool, err error)
}

// NoSums is the error of Summer.Sum for an image whose chunks cannot be summed up; cause may be nil.
func NoSums(cause error) error {
	return fault.Wrap(cause, fault.Precondition, reasonNoSums, "the store cannot sum up the chunks of this image")
}

// IsNoSums reports whether err is one of NoSums.
func IsNoSums(err error) bool { return fault.ReasonOf(err) == reasonNoSums }

const reasonNoSums = "NO_SUMS"

// Image is an image opened for writing.
type Image interface {
	Reader
	Writer
	Summer
	// Meta returns a value stored with SetMeta; empty when there is none.
	Meta(ctx context.Context, key string) (string, error)
	// SetMeta stores a string of a few KiB with the image; an empty one removes the key.
	SetMeta(ctx context.Context, key, value string) error
	// Snapshots returns the snapshot's state.
	Snapshots
}

// Writer changes the bytes of an image.
type Writer interface {
	// WriteAt writes p at off. When it returns nil the bytes survive the death of this process. Safe for concurrent use.
	WriteAt(ctx context.Context, p []byte, off int64) error
	// Zero makes a range read as zeroes.
	Zero(ctx context.Context, off, length int64) error
	// Resize changes the length.
	Resize(ctx context.Context, size int64) error
	// Flush is the commit point: when it returns nil everything written is durable.
	Flush(ctx context.Context) error
}

// Snapshots manages the one snapshot of an image.
type Snapshots interface {
	// SnapshotState says whether the snapshot exists and is protected.
	SnapshotState(ctx context.Context) (exists, protected bool, err error)
	// CreateSnapshot freezes the current content; Exists when there is a snapshot. The image is not written afterwards
	// unless the snapshot is removed again.
	CreateSnapshot(ctx context.Context) error
	// RemoveSnapshot removes the unprotected or protected snapshot; NotFound when there is none. Only for unpublished images.
	RemoveSnapshot(ctx context.Context) error
	// ProtectSnapshot makes the snapshot clonable; protecting a protected snapshot succeeds.
	ProtectSnapshot(ctx context.Context) error
}
