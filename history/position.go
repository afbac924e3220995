// Package history keeps the durable events of guilds in Redis, one stream per guild. A script appends each event and
// publishes it in one step; Publisher runs it. Reader reads again what a node or a client has missed.
package history

import (
	"bytes"
	"cmp"
	"errors"
	"strconv"
)

// Position is the position of an event in the history of its guild: the id of its entry in the Redis stream. The zero
// value is before every event.
type Position struct {
	Time uint64 // in milliseconds since 1970, by Redis's clock
	Seq  uint64 // numbers the entries of the same millisecond
}

// maxPosition is the length of the longest position: two numbers of 64 bits and a dash.
const maxPosition = 41

// ErrPosition reports that a text is not a position.
var ErrPosition = errors.New("not a position: it is two whole numbers of 64 bits with a dash between them")

// ParsePosition parses a position in the form of String, <ms>-<number>. The error is ErrPosition. It rejects shorter
// forms, because Redis's commands disagree about them: "5" means "5-0" to some, and the end of that millisecond to
// others.
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

// digits returns the number that begins at s[i] and the index of its end. end is i if there is no number of 64 bits.
func digits[T string | []byte](s T, i int) (value uint64, end int) {
	for end = i; end < len(s) && '0' <= s[end] && s[end] <= '9'; end++ {
		digit := uint64(s[end] - '0')
		if value > (1<<64-1-digit)/10 {
			return 0, i
		}
		value = 10*value + digit
	}
	if end > i+1 && s[i] == '0' { // a leading zero: a second way to write the same number
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

// IsZero reports whether p is the zero value, which is before every event.
func (p Position) IsZero() bool { return p == Position{} }

// ErrMessage reports that a message of a topic is neither plain nor durable.
var ErrMessage = errors.New("the message begins with a digit, and not with a position and a blank")

// Cut splits a message that came on a topic. A durable message is a position, one blank, and the body. A message that
// does not begin with a digit is plain: all of it is the body, and p is zero. body aliases message. The error is
// ErrMessage.
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
