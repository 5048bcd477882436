package nbd

import (
	"encoding/binary"
)

// handshake agrees with the client on the export. It reports whether requests follow: a client may also only ask and go.
func (s *session) handshake() (start bool, err error) {
	be := binary.BigEndian
	hello := be.AppendUint64(nil, magicServer)
	hello = be.AppendUint64(hello, magicOption)
	hello = be.AppendUint16(hello, fixedNewstyle|noZeroes)
	if err := s.write(hello); err != nil {
		return false, err
	}
	var answer [4]byte
	if err := s.read(answer[:]); err != nil {
		return false, err
	}
	flags := be.Uint32(answer[:])
	if flags&fixedNewstyle == 0 || flags&^(fixedNewstyle|noZeroes) != 0 {
		return false, broken("client flags %#x", flags)
	}
	for range maxOptions {
		id, data, err := s.option()
		if err != nil {
			return false, err
		}
		switch id {
		case optAbort:
			return false, s.reply(id, repAck, nil)
		case optExportName: // has no answer for a wrong name
			if len(data) > 0 {
				return false, broken("an export that is not there")
			}
			return true, s.exportName(flags&noZeroes != 0)
		case optInfo, optGo:
			ok, err := s.info(id, data)
			if err != nil || (ok && id == optGo) {
				return ok && err == nil, err
			}
		default:
			if err := s.reply(id, repErrUnsup, nil); err != nil {
				return false, err
			}
		}
	}
	return false, broken("more than %d options", maxOptions)
}

// option reads an option.
func (s *session) option() (id uint32, data []byte, err error) {
	var header [16]byte
	if err := s.read(header[:]); err != nil {
		return 0, nil, err
	}
	be := binary.BigEndian
	magic, id, length := be.Uint64(header[:]), be.Uint32(header[8:]), be.Uint32(header[12:])
	switch {
	case magic != magicOption:
		return 0, nil, broken("magic %#x of an option", magic)
	case length > maxOption:
		return 0, nil, broken("%d bytes of option %d", length, id)
	}
	data = make([]byte, length)
	return id, data, s.read(data)
}

// reply answers an option.
func (s *session) reply(option, kind uint32, data []byte) error {
	be := binary.BigEndian
	p := be.AppendUint64(nil, magicReply)
	p = be.AppendUint32(p, option)
	p = be.AppendUint32(p, kind)
	p = be.AppendUint32(p, uint32(len(data)))
	return s.write(append(p, data...))
}

// exportName is the old way to take an export: its size and flags without anything around.
func (s *session) exportName(short bool) error {
	p := binary.BigEndian.AppendUint64(nil, uint64(s.export.Size))
	p = binary.BigEndian.AppendUint16(p, s.flags())
	if !short {
		p = append(p, make([]byte, exportNameZeroes)...)
	}
	return s.write(p)
}

// info tells about the export, and reports whether the client has named it.
func (s *session) info(option uint32, data []byte) (ok bool, err error) {
	be := binary.BigEndian
	if len(data) < 6 {
		return false, s.reply(option, repErrInvalid, nil)
	}
	name := be.Uint32(data)
	if uint64(name) > uint64(len(data)-6) {
		return false, s.reply(option, repErrInvalid, nil)
	}
	if wanted := data[4+name:]; len(wanted) != 2+2*int(be.Uint16(wanted)) { // what else it wants to know: it gets what there is
		return false, s.reply(option, repErrInvalid, nil)
	}
	if name != 0 {
		return false, s.reply(option, repErrUnknown, nil)
	}
	p := be.AppendUint16(nil, infoExport)
	p = be.AppendUint64(p, uint64(s.export.Size))
	p = be.AppendUint16(p, s.flags())
	if err := s.reply(option, repInfo, p); err != nil {
		return false, err
	}
	p = be.AppendUint16(nil, infoBlockSize)
	p = be.AppendUint32(p, 1)
	p = be.AppendUint32(p, preferred)
	p = be.AppendUint32(p, MaxRequest)
	if err := s.reply(option, repInfo, p); err != nil {
		return false, err
	}
	return true, s.reply(option, repAck, nil)
}
