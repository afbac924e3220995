// Package payload encodes and decodes the bodies of HTTP long-polling: several Engine.IO packets in one body, as
// revisions 4 and 3 of the protocol have it, and JSONP.
//
// Source: https://github.com/socketio/engine.io-protocol, "Packet encoding"; details as in engine.io-parser 5 and 2.
package payload

import (
	"encoding/base64"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// Packet is one packet of a payload.
type Packet struct {
	Binary bool
	// Data is the type digit and the data of a text packet, or the bare data of a binary message.
	Data []byte
}

// Errors of the decoders.
var (
	ErrMalformed = errors.New("malformed payload")
	ErrTooMany   = errors.New("too many packets in a payload")
)

// binaryMessage is the first byte of a binary message in revision 3.
const binaryMessage = 4

// DecodeBase64 decodes the binary message in a text packet "b..." of the given revision. The data is a copy.
func DecodeBase64(packet []byte, protocol int) (Packet, error) {
	data := packet[1:]
	if protocol == 3 {
		if len(data) == 0 || data[0] != '4' {
			return Packet{}, ErrMalformed
		}
		data = data[1:]
	}
	for range 2 { // the second time without padding, which some clients leave out
		if n := len(data); n > 0 && data[n-1] == '=' {
			data = data[:n-1]
		}
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(data)))
	n, err := base64.RawStdEncoding.Decode(out, data)
	if err != nil {
		return Packet{}, ErrMalformed
	}
	return Packet{Binary: true, Data: out[:n]}, nil
}

// utf16Len is the length of s in UTF-16 units, which is what JavaScript counts.
func utf16Len(s []byte) int {
	n := 0
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		n += max(utf16.RuneLen(r), 1)
		s = s[size:]
	}
	return n
}
