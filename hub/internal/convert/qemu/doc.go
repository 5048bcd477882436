// Package qemu converts disk formats with qemu-img, which it trusts with nothing.
//
// qemu-img runs in a sandbox without files and network. It has three connections to the hub, each a pair of sockets made before
// it starts: it reads the image from the first and writes the disk to the last, as NBD exports. The one between holds a mark of
// one sector that it appends to the disk.
//
// What goes to the sink is in order and complete because of how qemu-img is called and what is checked (observed with version
// 7.2, true since 5.0):
//
//   - With one coroutine (-m 1) and without -W, it writes from the first byte to the last and never reads the target. A write that
//     goes back is an error here.
//   - With -n and --target-is-zero it skips what the image says is zero, or where it read nothing but zeroes. A gap between two
//     writes is therefore zeroes: nothing writes there later, see above.
//   - The mark is the second of two sources that it concatenates. It is written after everything else, and where the image ends
//     in the eyes of qemu-img. It must come, and be exactly at the end of the disk that the inspector found: a longer disk does
//     not fit into the target, the mark of a shorter one comes too early.
//
// Every format is named, so nothing is guessed from data; backing files are off; there is no file that could be opened.
package qemu
