// Package journal remembers which chunks of an unpublished image have safely been written, so that a transfer goes on
// after a crash without sending them again.
//
// Order: a record is appended only after the write of its chunk has returned without error. A crash between the two loses
// the record, never the truth of those that exist: the caller finds the chunk in the image itself and compares it. For
// the same reason nothing here is synced: what a power failure takes away, or damages, is found out by checksums here and
// by reading the image there. A journal is therefore always allowed to be missing, old, cut short or damaged; it must only
// never claim a chunk that has not been written, which is why it names the content and why a new image starts with a new
// journal.
package journal

import (
	"os"
	"sync"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// Journal is the open journal of one image in one store. Methods may be called from several goroutines.
type Journal struct {
	mu   sync.Mutex
	file *os.File
	seed uint32 // checksum of the header, which every record's checksum continues
	end  int64  // offset behind the last good record
	live *table
}

// Digest returns the digest with which chunk i was written; false when that is not known.
func (j *Journal) Digest(i int) (manifest.Digest, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	d := j.live.get(i).digest
	return d, !d.IsZero()
}

// Sum returns what was recorded as the sum of chunk i with digest d; false when it was written with another digest, or
// without a sum.
func (j *Journal) Sum(i int, d manifest.Digest) (uint64, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.live.get(i)
	return e.sum, e.digest == d && e.sum != 0
}

// Len returns the number of chunks known to be written.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.live.n
}

// Record notes that chunk i has been written with digest d. The sum is what the store should say of it, see rbd.Summer; 0
// when that is not known. It writes 48 bytes and does not sync. After an error the chunk is known in memory only, and the
// next record takes the failed one's place in the file.
func (j *Journal) Record(i int, d manifest.Digest, sum uint64) error {
	if i < 0 || i >= manifest.MaxChunks {
		return fault.New(fault.Internal, "BAD_CHUNK", "chunk %d is out of range", i)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e := entry{digest: d, sum: sum}
	if j.live.get(i) == e {
		return nil
	}
	j.live.set(i, e)
	rec := appendRecord(nil, j.seed, i, e)
	if _, err := j.file.WriteAt(rec, j.end); err != nil {
		return fault.Wrap(err, fault.Internal, "JOURNAL", "the journal cannot be written")
	}
	j.end += recordSize
	return nil
}

// Forget notes that chunk i must be written again. Call it before the chunk is touched.
func (j *Journal) Forget(i int) error { return j.Record(i, manifest.Digest{}, 0) }

// Close releases the file. The journal stays for the next Open.
func (j *Journal) Close() error { return j.file.Close() }
