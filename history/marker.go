package history

import (
	"bytes"
)

// Marker returns a message that is no event: at its place in a history events may be missing that were never published
// durably. Who spectates the guild needs a resync there, whose reason is reason. Nodes that do not know it drop it as
// malformed.
func Marker(reason string) []byte { return []byte(markerBegin + reason + markerEnd) }

const (
	markerBegin = `{"resync":"`
	markerEnd   = `"}`
	maxReason   = 64
)

// ParseMarker returns the reason in a Marker, and false if message is none.
func ParseMarker(message []byte) (reason string, ok bool) {
	rest, begins := bytes.CutPrefix(message, []byte(markerBegin))
	text, ends := bytes.CutSuffix(rest, []byte(markerEnd))
	if !begins || !ends || len(text) == 0 || len(text) > maxReason ||
		len(bytes.Trim(text, "abcdefghijklmnopqrstuvwxyz_")) > 0 {
		return "", false
	}
	return string(text), true
}
