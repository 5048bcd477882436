// Package qcow2 reads disks out of qcow2 data that may be hostile and may still be arriving.
//
// The rules are those of the public specification of the format ("Qcow2 Image File Format", QEMU's interoperability
// documentation), versions 2 and 3. Where it leaves a choice, the reader does what qemu-img does, so that both see the same disk
// in the same data; where qemu-img guesses, the reader refuses:
//
//   - Tables (L1, L2) must be in the data as far as the disk needs them. qemu-img takes what is missing for zeroes, which
//     turns a file that was cut short into an empty disk.
//   - A cluster that begins within the data may end after it, when the data ends with a whole sector of 512 bytes: the rest reads
//     as zeroes. One that begins after the data makes the image damaged. qemu-img takes all of it for zeroes, but "qemu-img check"
//     draws the same line.
//   - Compressed data may end before its last sector does, as writers do not fill it. What is there must unpack to a whole cluster.
//   - Bits of table entries that the specification reserves are ignored.
//   - The disk is as long as the header says, to the byte.
//
// A backing file, a data file, encryption, an unknown incompatible feature or compression make an image unsafe; the corrupt
// bit makes it damaged; the dirty bit, lazy reference counts and bitmaps do not matter to a reader and internal snapshots are not
// read: the disk is the active state.
//
// # Bounds
//
// Reference counts and snapshots are never looked at, so nothing in the data can lead to a loop: the disk is walked once from the
// first cluster to the last, each needs one table entry, and the output is as long as the header says, which Open compares with what
// the caller allows. Entries may point anywhere, also at tables, at the header, or all at the same cluster: they then read what is there.
// Memory is a piece of the L1 table (64 KiB), one L2 table (at most 2 MiB) and at most 6 windows of 4 MiB of disk, and up to 4 MiB of
// compressed data and a decoder for each of at most 4 workers: below 48 MiB whatever the header says.
package qcow2
