// Package convert is the seam between the importer and the readers of disk formats.
//
// The importer keeps the data of an image that is not raw in a content of the staging area of its own and gives a reader
// two things: a Source, that data with random access, and a Sink, the disk. The reader starts while the data is still
// arriving: its reads block until the bytes they ask for are there, so it needs to know nothing about transfers, and the
// disk grows while its source does. The sink takes the disk in order and never goes back, so no reader needs scratch space.
//
// The packages below do the reading: qcow2 in pure Go, on data that nobody has checked yet; qemu, for every other format,
// by a program in a sandbox, and only once the data is complete and has been checked.
//
// A reader never believes what it reads. Whatever the data says, memory is bounded, the disk is never longer than the size that
// the reader found and was allowed, and no other file is ever read.
package convert
