// Package delta describes a chunk by what another content, the base, already has: copies from anywhere in the base, at any
// byte, and the bytes that it does not have, compressed.
//
// Disk images of two versions share most of their bytes, but seldom at the same place and, when an image is built anew, not
// even at the same offset within a block of the file system. So matches are found by content: a rolling hash picks about
// one position in 128, the same ones in both images, and what is found at one is extended in both directions. That is what
// zstd does with a long distance window over a reference; here the reference is random access, so that neither side
// holds it in memory.
//
// The encoder runs once, wherever the base is at hand; the decoder needs the base as it is read from a snapshot, and no
// trust in what it decodes: whoever applies a delta compares the result with the digest of the chunk.
package delta
