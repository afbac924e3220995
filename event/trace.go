package event

import "bytes"

// WithTraceparent returns the message that was parsed with a `traceparent` as its first member. It returns the message
// itself if it has one, if it is a log action, which is its own payload, or if it would become too large.
func (e *Event) WithTraceparent(message []byte, traceparent string) []byte {
	const before, after = `{"traceparent":"`, `",`
	size := len(message) + len(before) - 1 + len(traceparent) + len(after)
	if e.Traceparent != nil || len(e.Payload) == len(message) || size > MaxBytes {
		return message
	}
	begin := bytes.IndexByte(message, '{') // there is a member: the payload
	with := append(make([]byte, 0, size), before...)
	with = append(append(with, traceparent...), after...)
	return append(with, message[begin+1:]...)
}
