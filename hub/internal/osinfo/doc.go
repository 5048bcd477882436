// Package osinfo tells which operating system is on a disk, by reading /etc/os-release from it.
//
// It reads the file systems ext2, ext3, ext4 and XFS (version 5) itself, without mounting anything: the disk is an attacker's. So every
// read is checked against the bounds of the partition, the bytes read of one disk are limited, and nothing on the disk decides how deep a
// walk goes or how much memory it takes.
//
// It never guesses. What it cannot read to the end with certainty (a damaged or unknown structure, a journal that has not been
// replayed, LVM, encryption, btrfs, several systems on one disk) is no answer.
package osinfo
