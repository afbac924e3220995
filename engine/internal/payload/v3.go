package payload

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// Binary payloads of revision 3: <0 text | 1 binary> <length, a digit a byte> <255> <packet>
const (
	markText   = 0
	markBinary = 1
	markEnd    = 255
)

// maxType is the largest type of a packet.
const maxType = 6

// maxDigits bounds the digits of a length.
const maxDigits = 10

// Decode3 is Decode4 for the text form of revision 3, "<length>:<packet>" with the length in UTF-16 units.
func Decode3(body []byte, limit int, yield func(Packet) bool) error {
	if len(body) == 0 || !utf8.Valid(body) {
		return ErrMalformed
	}
	for n := 0; len(body) > 0; n++ {
		if n == limit {
			return ErrTooMany
		}
		digits, _, ok := bytes.Cut(body[:min(len(body), maxDigits+1)], []byte{':'})
		length, err := strconv.ParseUint(string(digits), 10, 31)
		if !ok || err != nil {
			return ErrMalformed
		}
		body = body[len(digits)+1:]
		size, ok := utf16Prefix(body, int(length))
		if !ok {
			return ErrMalformed
		}
		packet := body[:size:size]
		body = body[size:]
		if size == 0 {
			continue // as engine.io-parser does
		}
		p := Packet{Data: packet}
		if packet[0] == 'b' {
			if p, err = DecodeBase64(packet, 3); err != nil {
				return err
			}
		}
		if !yield(p) {
			return nil
		}
	}
	return nil
}

// utf16Prefix returns the size in bytes of the prefix of s that has n UTF-16 units.
func utf16Prefix(s []byte, n int) (size int, ok bool) {
	for n > 0 && size < len(s) {
		if s[size] < utf8.RuneSelf {
			size, n = size+1, n-1
			continue
		}
		r, width := utf8.DecodeRune(s[size:])
		size += width
		n--
		if r >= 0x10000 {
			n--
		}
	}
	return size, n == 0
}

// DecodeBinary3 is Decode4 for the binary form of revision 3. Its strings are UTF-8 whose length counts bytes.
func DecodeBinary3(body []byte, limit int, yield func(Packet) bool) error {
	for n := 0; len(body) > 0; n++ {
		if n == limit {
			return ErrTooMany
		}
		mark := body[0]
		length, digits := 0, body[1:]
		end := bytes.IndexByte(digits[:min(len(digits), maxDigits+1)], markEnd)
		if mark > markBinary || end < 1 {
			return ErrMalformed
		}
		for _, d := range digits[:end] {
			if d > 9 {
				return ErrMalformed
			}
			length = length*10 + int(d)
		}
		body = digits[end+1:]
		if length > len(body) {
			return ErrMalformed
		}
		packet := body[:length:length]
		body = body[length:]
		if mark == markBinary && (len(packet) == 0 || packet[0] > maxType) {
			continue // as engine.io does
		}
		p, err := binaryPacket3(mark, packet)
		if err != nil {
			return err
		}
		if !yield(p) {
			return nil
		}
	}
	return nil
}

// binaryPacket3 returns a packet of a binary payload. A binary packet other than a message is the same as a text packet
// without data.
func binaryPacket3(mark byte, packet []byte) (Packet, error) {
	switch {
	case mark == markBinary && packet[0] == binaryMessage:
		return Packet{Binary: true, Data: packet[1:]}, nil
	case mark == markBinary:
		return Packet{Data: []byte{'0' + packet[0]}}, nil
	case len(packet) == 0 || !utf8.Valid(packet):
		return Packet{}, ErrMalformed
	case packet[0] == 'b':
		return DecodeBase64(packet, 3)
	}
	return Packet{Data: packet}, nil
}

// Append3 appends a packet to a text payload of revision 3; binary messages go in base64.
func Append3(dst []byte, p Packet) []byte {
	if !p.Binary {
		dst = strconv.AppendInt(dst, int64(utf16Len(p.Data)), 10)
		return append(append(dst, ':'), p.Data...)
	}
	dst = strconv.AppendInt(dst, int64(2+base64.StdEncoding.EncodedLen(len(p.Data))), 10)
	return base64.StdEncoding.AppendEncode(append(dst, ":b4"...), p.Data)
}

// AppendBinary3 appends a packet to a binary payload of revision 3.
func AppendBinary3(dst []byte, p Packet) []byte {
	mark, length := byte(markText), len(p.Data)
	if p.Binary {
		mark, length = markBinary, length+1
	}
	dst = append(dst, mark)
	at := len(dst)
	dst = strconv.AppendInt(dst, int64(length), 10)
	for i := at; i < len(dst); i++ {
		dst[i] -= '0'
	}
	dst = append(dst, markEnd)
	if p.Binary {
		dst = append(dst, binaryMessage)
	}
	return append(dst, p.Data...)
}
