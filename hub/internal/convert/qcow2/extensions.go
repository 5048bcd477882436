package qcow2

import "encoding/binary"

const (
	extensionEnd      = 0
	extensionDataFile = 0x44415441 // name of an external data file
	extensionCrypto   = 0x0537be77 // where the header of the encryption is
)

// checkExtensions walks over the extensions of the header, which lie between its end and that of the first cluster, and refuses
// those that no image may have. The others change nothing for a reader.
func checkExtensions(head []byte, at, cluster int64) error {
	end := min(cluster, int64(len(head)))
	for at+8 <= end {
		kind, length := binary.BigEndian.Uint32(head[at:]), int64(binary.BigEndian.Uint32(head[at+4:]))
		switch {
		case kind == extensionEnd:
			return nil
		case kind == extensionDataFile:
			return unsafe("it names a file for its data")
		case kind == extensionCrypto:
			return unsafe("it is encrypted")
		case length > end-at-8:
			return damaged("an extension of its header is longer than there is room")
		}
		at += 8 + (length+7)/8*8
	}
	if end == headSize && at < cluster { // what follows has not been looked at
		return unsafe("its header extensions have no end")
	}
	return nil
}
