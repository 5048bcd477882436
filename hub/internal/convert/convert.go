package convert

import (
	"io"

	"github.com/atoll-dcn/atoll/pkg/inspect"
)

// Source is image data that may still be arriving.
//
// ReadAt fills p from the byte at off and blocks until all of these bytes have come. When the data ends before they do, it
// returns what there is and io.EOF; that answer is final, because it is given only once the end is known. When the import ends
// (it failed, or was cancelled), blocked and later calls fail with the reason. It is safe for concurrent use.
//
// A reader that fails while it has reads under way closes a source that is an io.Closer too, which ends them. Whoever made the source
// closes it in the end; closing it twice does no harm.
type Source interface {
	io.ReaderAt
}

// Sink takes the bytes of a disk, from the first to the last, from one goroutine.
//
// Both methods block while there is no room, take everything or fail, and an error is final: the caller gives up and returns it.
// What Write is given may be reused once it returns. Writes that end at multiples of 4 MiB of the disk are the cheapest.
type Sink interface {
	io.Writer           // the next bytes
	Zero(n int64) error // the next n bytes, n > 0, are zeroes
}

// Reasons why data cannot be converted.
const (
	ReasonDamaged     = "IMAGE_DAMAGED"      // Invalid: the data contradicts itself or ends too early
	ReasonUnsafe      = inspect.ReasonUnsafe // Invalid: no image may have such data
	ReasonTooLarge    = "IMAGE_TOO_LARGE"    // Exhausted: the disk is larger than allowed
	ReasonNoConverter = "NO_CONVERTER"       // Precondition: this hub lacks the program for the format
	ReasonLimit       = "CONVERSION_LIMIT"   // Exhausted: the conversion needs more time or memory than it may have
)
