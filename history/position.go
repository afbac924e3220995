// Package history keeps the durable events of guilds: a Redis stream for each guild, written by the publish script in
// the same moment in which nodes hear of the event, and read again by whoever has missed something.
package history

import (
	"bytes"
	"cmp"
	"errors"
	"strconv"
)

// Position is the place of an event in the history of its guild: the id of its entry in a Redis stream. The zero value
// is before everything.
type Position struct {
	Time uint64 // ms since 1970, by Redis's clock
	Seq  uint64 // among the entries of that time
}

// maxPosition is the length of the longest position: two numbers of 64 bits and a dash.
const maxPosition = 41

// ErrPosition reports that a text is not a position.
var ErrPosition = errors.New("not a position: it is two whole numbers of 64 bits with a dash between them")

// ParsePosition parses a position, <ms>-<number>, as String writes it. It takes no shorter form: a stream would take
// "5" for "5-0" here and for the end of that millisecond there.
func ParsePosition(s string) (Position, error) { return parse(s) }

func parse[T string | []byte](s T) (Position, error) {
	if len(s) > maxPosition {
		return Position{}, ErrPosition
	}
	time, n := digits(s, 0)
	if n == 0 || n >= len(s) || s[n] != '-' {
		return Position{}, ErrPosition
	}
	seq, end := digits(s, n+1)
	if end == n+1 || end != len(s) {
		return Position{}, ErrPosition
	}
	return Position{time, seq}, nil
}

// digits returns the number that begins at i, and where it ends. It returns i if there is none of 64 bits.
func digits[T string | []byte](s T, i int) (value uint64, end int) {
	for end = i; end < len(s) && '0' <= s[end] && s[end] <= '9'; end++ {
		digit := uint64(s[end] - '0')
		if value > (1<<64-1-digit)/10 {
			return 0, i
		}
		value = 10*value + digit
	}
	if end > i+1 && s[i] == '0' { // another way to write the same number
		return 0, i
	}
	return value, end
}

// String returns the form that ParsePosition parses.
func (p Position) String() string { return string(p.Append(make([]byte, 0, maxPosition))) }

// Append appends String's form to dst and returns the extended slice.
func (p Position) Append(dst []byte) []byte {
	dst = append(strconv.AppendUint(dst, p.Time, 10), '-')
	return strconv.AppendUint(dst, p.Seq, 10)
}

// Compare returns -1 if p is before q, 1 if p is after q, and 0 if they are the same.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Time, q.Time), cmp.Compare(p.Seq, q.Seq))
}

// IsZero reports whether p is before everything.
func (p Position) IsZero() bool { return p == Position{} }

// ErrMessage reports that a message of a topic is neither plain nor durable.
var ErrMessage = errors.New("the message begins with a digit, and not with a position and a blank")

// Cut splits a message as it comes on a topic. A durable one is a position, one blank, and the body; everything that
// does not begin with a digit is plain, and all of it the body. body aliases message. The error is ErrMessage.
func Cut(message []byte) (p Position, body []byte, durable bool, err error) {
	if len(message) == 0 || message[0] < '0' || message[0] > '9' {
		return Position{}, message, false, nil
	}
	i := bytes.IndexByte(message[:min(len(message), maxPosition+1)], ' ')
	if i < 0 || i+1 == len(message) {
		return Position{}, nil, false, ErrMessage
	}
	if p, err = parse(message[:i]); err != nil {
		return Position{}, nil, false, ErrMessage
	}
	return p, message[i+1:], true, nil
}
