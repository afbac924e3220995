package payload

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// separator stands between the packets of a payload of revision 4.
const separator = 0x1e

// Decode4 calls yield for every packet of body, until yield returns false. It stops with an error at the first
// malformed packet. It refuses a body that is not UTF-8 or holds more than limit packets before the first call. Text
// packets share body's memory.
func Decode4(body []byte, limit int, yield func(Packet) bool) error {
	if bytes.Count(body, []byte{separator}) >= limit {
		return ErrTooMany
	}
	if !utf8.Valid(body) {
		return ErrMalformed
	}
	for packet := range bytes.SplitSeq(body, []byte{separator}) {
		p := Packet{Data: packet}
		if len(packet) == 0 {
			return ErrMalformed
		}
		if packet[0] == 'b' {
			var err error
			if p, err = DecodeBase64(packet, 4); err != nil {
				return err
			}
		}
		if !yield(p) {
			return nil
		}
	}
	return nil
}

// Append4 appends a packet to a payload of revision 4.
func Append4(dst []byte, p Packet) []byte {
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	if !p.Binary {
		return append(dst, p.Data...)
	}
	return base64.StdEncoding.AppendEncode(append(dst, 'b'), p.Data)
}
