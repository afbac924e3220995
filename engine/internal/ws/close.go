package ws

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Close codes that a server sends (RFC 6455, 7.4.1).
const (
	CodeNone       = 0 // the frame has no code; the peer's API shows 1005
	CodeNormal     = 1000
	CodeGoingAway  = 1001
	CodeProtocol   = 1002
	CodeInvalid    = 1007 // not UTF-8, or not valid deflate data
	CodePolicy     = 1008
	CodeTooBig     = 1009
	CodeTryLater   = 1013
	codeNoStatus   = 1005
	codeAbnormal   = 1006
	codeTLS        = 1015
	codeFirstOwn   = 3000
	codeLastOwn    = 4999
	codeLastKnown  = 1014
	codeReserved04 = 1004
)

// Error reports that the peer broke the protocol. Close the connection with its code.
type Error struct {
	Code   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("websocket: %s (close code %d)", e.Reason, e.Code) }

// The errors of Assembler.Next and ParseClose.
var (
	ErrTooBig     = &Error{CodeTooBig, "message too big"}
	ErrFragments  = &Error{CodePolicy, "too many fragments"}
	errReserved   = &Error{CodeProtocol, "reserved bit set"}
	errUnmasked   = &Error{CodeProtocol, "frame is not masked"}
	errOpcode     = &Error{CodeProtocol, "unknown opcode"}
	errControl    = &Error{CodeProtocol, "invalid control frame"}
	errLength     = &Error{CodeProtocol, "invalid length"}
	errContinue   = &Error{CodeProtocol, "continuation of nothing"}
	errInterleave = &Error{CodeProtocol, "message inside of a fragmented message"}
	errUTF8       = &Error{CodeInvalid, "invalid UTF-8"}
	errDeflate    = &Error{CodeInvalid, "invalid deflate stream"}
	errCloseFrame = &Error{CodeProtocol, "invalid close frame"}
)

// AppendClose appends a whole close frame. It truncates reason to what fits. With CodeNone the frame is empty.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == CodeNone {
		return AppendHeader(dst, Close, false, 0)
	}
	for len(reason) > MaxControl-2 || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, MaxControl-2)]
	}
	dst = AppendHeader(dst, Close, false, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// ParseClose parses the payload of a close frame. An empty payload has code CodeNone.
func ParseClose(p []byte) (code int, reason string, err error) {
	if len(p) == 0 {
		return CodeNone, "", nil
	}
	if len(p) == 1 {
		return 0, "", errCloseFrame
	}
	code = int(binary.BigEndian.Uint16(p))
	switch {
	case code < CodeNormal, code > codeLastKnown && code < codeFirstOwn, code > codeLastOwn,
		code == codeReserved04, code == codeNoStatus, code == codeAbnormal, code == codeTLS:
		return 0, "", errCloseFrame
	case !utf8.Valid(p[2:]):
		return 0, "", errUTF8
	}
	return code, string(p[2:]), nil
}
