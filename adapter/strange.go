package adapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// strange reports whether a message that was dropped for reason r has no place on our channels. The others are dropped
// in the normal course of things.
func strange(r wire.Reason) bool {
	switch r {
	case wire.OtherNamespace, wire.Unanswerable, wire.Overflow:
		return false
	}
	return true
}

// senderOf names who writes messages that look like payload, as far as that can be told.
func senderOf(payload []byte) string {
	switch {
	case bytes.HasPrefix(payload, []byte("\x80")) && bytes.HasSuffix(payload, []byte(".")):
		return "a Python pickle: python-socketio's RedisManager of an old version speaks another protocol"
	case bytes.HasPrefix(payload, []byte("{")) && bytes.Contains(payload, []byte(`"method"`)):
		return "python-socketio's RedisManager, which speaks another protocol"
	case bytes.HasPrefix(payload, []byte("{")), bytes.HasPrefix(payload, []byte("[")):
		return "a program that publishes JSON of its own"
	}
	return "unknown"
}

// shapeOf says how payload looks without telling what is in it: the keys of a JSON object, or the first bytes.
func shapeOf(payload []byte) string {
	const maxBytes, maxKeys, maxKey, maxParsed = 8, 10, 32, 64 << 10
	var object map[string]json.RawMessage
	if len(payload) > maxParsed || json.Unmarshal(payload, &object) != nil {
		return fmt.Sprintf("begins with %x", payload[:min(len(payload), maxBytes)])
	}
	keys := slices.Sorted(maps.Keys(object))
	keys = keys[:min(len(keys), maxKeys)]
	for i, k := range keys {
		keys[i] = k[:min(len(k), maxKey)]
	}
	return fmt.Sprintf("JSON with keys %q", keys)
}
