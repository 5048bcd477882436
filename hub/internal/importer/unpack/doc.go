// Package unpack decompresses image data as it arrives, within limits.
//
// The data is an attacker's: a few bytes may stand for terabytes, ask for gigabytes of memory or lie about everything. So
// output, input, memory and read-ahead are bounded, checksums are compared, and whatever a decompressor does wrong with such data
// ends the import and not the process.
//
// Formats and libraries: gzip (RFC 1952) and zstd (RFC 8878) by klauspost/compress, xz by mikelolasagasti/xz, a translation of XZ
// Embedded that has a limit on the dictionary and knows the BCJ filters, bzip2 by the standard library.
package unpack
