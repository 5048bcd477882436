package manifest

// The stream format, all numbers big endian:
//
//	header  "atollmf1", u32 chunk size, u32 number of the first chunk described (0 in a stored manifest)
//	'c'     32 byte digest: one chunk with data
//	'z'     u32 count: so many chunks of zeroes
//	'k'     nothing new yet; only in a stream that is still growing, skipped by the decoder
//	'x'     the source failed and the content will never be complete; last record
//	'e'     u64 length, 32 byte root digest: the content is complete; last record
const (
	magic      = "atollmf1"
	headerSize = len(magic) + 8

	tagChunk     = 'c'
	tagZeros     = 'z'
	tagKeepAlive = 'k'
	tagGone      = 'x'
	tagEnd       = 'e'
)

// ReasonGone is the reason of the Precondition error that says a content will never be complete.
const ReasonGone = "CONTENT_GONE"

// End is what is known of a content once it is complete.
type End struct {
	Length int64  // bytes
	Root   Digest // root digest of the manifest
}

// Record is one step of a manifest stream: either Count chunks from Index on, all with the same Digest, or the end.
type Record struct {
	Index  int    // number of the first chunk described; the number of all chunks when End is set
	Count  int    // 1 for a chunk with data, any number for chunks of zeroes, 0 when End is set
	Digest Digest // zero for chunks of zeroes
	End    *End   // set in the last record only
}
