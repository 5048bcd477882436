// Package nbd serves one export to one client over one connection, which somebody else has made: the part of the protocol of
// network block devices that qemu-img needs, and nothing else.
//
// The client is a program that reads data of strangers, so it may be under their control: the server trusts nothing that it
// sends. It answers one request after the other, keeps one buffer of at most MaxRequest bytes, and ends the connection at the
// first thing that the protocol or the export does not allow.
//
// The rules are those of the NBD project's proto.md: the fixed newstyle handshake, simple replies, and of the commands READ,
// WRITE, WRITE_ZEROES and DISC. Structured replies, TLS, block status, TRIM, FLUSH and FUA are not offered.
package nbd
