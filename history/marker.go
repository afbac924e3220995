package history

import (
	"bytes"
)

// Marker returns a message that is not an event. It says that events may be missing at its place in a history, because
// they were never published durably. The guild's spectators get a resync for reason. Nodes too old to know markers drop
// it as malformed.
func Marker(reason string) []byte { return []byte(markerBegin + reason + markerEnd) }

const (
	markerBegin = `{"resync":"`
	markerEnd   = `"}`
	maxReason   = 64
)

// ParseMarker returns the reason in a marker, and false if message is not a marker.
func ParseMarker(message []byte) (reason string, ok bool) {
	rest, begins := bytes.CutPrefix(message, []byte(markerBegin))
	text, ends := bytes.CutSuffix(rest, []byte(markerEnd))
	if !begins || !ends || len(text) == 0 || len(text) > maxReason ||
		len(bytes.Trim(text, "abcdefghijklmnopqrstuvwxyz_")) > 0 {
		return "", false
	}
	return string(text), true
}
