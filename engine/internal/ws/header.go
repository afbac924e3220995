// Package ws is the part of the WebSocket protocol that needs no I/O: frame headers, masking, the assembly of a
// client's frames to messages, close codes, the opening handshake, and permessage-deflate, which the client may use
// without context takeover only.
//
// Source: RFC 6455 and RFC 7692. Comments name the section of a rule.
package ws

import "encoding/binary"

// Opcode of a frame (RFC 6455, 5.2).
type Opcode byte

// The opcodes; all others are reserved.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// MaxControl is the largest payload of a control frame in bytes.
const MaxControl = 125

// MaxHeader is the size in bytes of the largest header that a server writes.
const MaxHeader = 10

const (
	bitFin  = 0x80
	bitRSV1 = 0x40
	bitsRSV = 0x70
	bitMask = 0x80
)

// AppendHeader appends the header of an unfragmented, unmasked frame with n bytes of payload. compressed sets RSV1.
func AppendHeader(dst []byte, op Opcode, compressed bool, n int) []byte {
	b := bitFin | byte(op)
	if compressed {
		b |= bitRSV1
	}
	switch {
	case n <= MaxControl:
		return append(dst, b, byte(n))
	case n < 1<<16:
		return append(dst, b, 126, byte(n>>8), byte(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, b, 127), uint64(n))
	}
}

// header is the header of a frame from a client.
type header struct {
	fin        bool
	compressed bool
	op         Opcode
	key        uint32 // little endian, as Unmask takes it
	size       int    // of the header itself
	length     uint64 // of the payload
}

// parseHeader parses the header at the start of b. ok is false if b ends before the header does. An error in the first
// two bytes is reported before the rest has arrived.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h.fin = b[0]&bitFin != 0
	h.compressed = b[0]&bitRSV1 != 0
	h.op = Opcode(b[0] & 0xf)
	h.length = uint64(b[1] &^ bitMask)
	switch {
	case b[0]&(bitsRSV&^bitRSV1) != 0:
		return h, false, errReserved
	case b[1]&bitMask == 0:
		return h, false, errUnmasked
	case h.op > Binary && h.op < Close || h.op > Pong:
		return h, false, errOpcode
	case h.op >= Close && (!h.fin || h.compressed || h.length > MaxControl):
		return h, false, errControl
	}
	h.size = 6
	switch h.length {
	case 126:
		h.size = 8
	case 127:
		h.size = 14
	}
	if len(b) < h.size {
		return h, false, nil
	}
	switch h.size {
	case 8:
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 14:
		h.length = binary.BigEndian.Uint64(b[2:])
		if h.length>>63 != 0 {
			return h, false, errLength
		}
	}
	h.key = binary.LittleEndian.Uint32(b[h.size-4:])
	return h, true, nil
}

// unmask undoes the masking of p (RFC 6455, 5.3) in place, eight bytes at a time.
func unmask(p []byte, key uint32) {
	k := uint64(key) | uint64(key)<<32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(k >> (8 * i))
	}
}
