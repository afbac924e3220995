package permissions

import (
	"encoding/binary"
	"strconv"
)

// What a revocationKey names, its first byte. A number is packed: users have no other ids on Discord.
const (
	keyOfUser   = 's' // followed by sub
	keyOfNumber = 'n' // followed by sub, 8 bytes
	keyOfToken  = 't' // followed by jti
	keyOfBoth   = 'b' // followed by the length of sub, sub and jti
)

// appendRevocationKey appends what names a user, a token, or a token of a user: different ones differently.
func appendRevocationKey(b []byte, subject, tokenID string) []byte {
	switch {
	case subject == "":
		return append(append(b, keyOfToken), tokenID...)
	case tokenID != "":
		b = binary.AppendUvarint(append(b, keyOfBoth), uint64(len(subject)))
		return append(append(b, subject...), tokenID...)
	}
	if n, ok := decimal(subject); ok {
		return binary.BigEndian.AppendUint64(append(b, keyOfNumber), n)
	}
	return append(append(b, keyOfUser), subject...)
}

// readRevocationKey returns what appendRevocationKey was given.
func readRevocationKey(key []byte) (subject, tokenID string) {
	switch rest := key[1:]; key[0] {
	case keyOfToken:
		return "", string(rest)
	case keyOfNumber:
		return strconv.FormatUint(binary.BigEndian.Uint64(rest), 10), ""
	case keyOfBoth:
		length, n := binary.Uvarint(rest)
		rest = rest[n:]
		return string(rest[:length]), string(rest[length:])
	default:
		return string(rest), ""
	}
}

// decimal reads a number that is written as strconv writes it: in one way only.
func decimal(s string) (n uint64, ok bool) {
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// bucket holds keys one after another, each behind its length, and loses them from the front.
type bucket struct {
	keys []byte
	read int // where the first that is left begins
}

func (b *bucket) add(key []byte) {
	b.keys = append(binary.AppendUvarint(b.keys, uint64(len(key))), key...)
}

// key returns the key at a place, and the place of the next.
func (b *bucket) key(at int) (key []byte, next int) {
	length, n := binary.Uvarint(b.keys[at:])
	at += n
	next = at + int(length)
	return b.keys[at:next], next
}
