// Package event parses the guild and log events that arrive on Redis, and names the topics and rooms that they travel
// through. It does no I/O, and does not decide who may see what.
package event

import "github.com/architus/guildcast/internal/js"

// Event is one parsed message of a topic. It is immutable; Payload aliases the message that it was parsed from.
type Event struct {
	// Topic is the topic of the message. It alone says which guild the event concerns; nothing inside the message does.
	Topic Topic

	// Name is the name of the Socket.IO event that carries Payload to clients.
	Name string

	// Kind selects the policy's rule. It is empty if an envelope names none, or if a log action's number is unknown:
	// such an event reaches nobody.
	Kind string

	// Private restricts the event to those who may see private logs.
	Private bool

	// Requires restricts the event further.
	Requires Requirement

	// Published is when it was published, in Unix milliseconds by the publisher's clock: `ts` of the message, 0
	// without.
	Published int64

	// Traceparent is the trace that it belongs to, as W3C Trace Context has it: `traceparent` of the message, not
	// checked, nil without.
	Traceparent []byte

	// Payload is valid JSON, byte for byte as it was published.
	Payload []byte
}

// Requirement is the parsed `requires` of a message. The zero value adds nothing to what the policy requires.
type Requirement struct {
	// Names of permission bits, as published. An unknown name must deny.
	Names []string

	// Bits are permission bits required by number.
	Bits uint64

	// Unclear is set if part of the requirement could not be understood. Nobody meets it then.
	Unclear bool
}

// Default names of the events, by topic.
const (
	LogPool  = "log_pool"  // entity updates, on <guild_id>
	LogOther = "log_other" // log entries, on <guild_id>_logs
)

// MaxNameBytes bounds the name of an event.
const MaxNameBytes = 128

// AllowedName reports whether a message may name its event so. It refuses the names that Socket.IO reserves, "error",
// with which a node reports a failed request, and names that are empty, too long, or hold control characters.
func AllowedName(name string) bool {
	switch name {
	case "connect", "connect_error", "connection", "disconnect", "disconnecting",
		"newListener", "removeListener", "error":
		return false
	}
	if name == "" || len(name) > MaxNameBytes {
		return false
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return true
}

// AppendArgs appends the event to dst as the JSON array of its name and its argument, ["log_pool",{...}], and returns
// the extended slice. If asString is set, the argument is the payload serialised into a string: ["log_pool","{...}"].
func (e *Event) AppendArgs(dst []byte, asString bool) []byte {
	dst = append(dst, '[')
	dst = js.AppendValid(dst, e.Name)
	dst = append(dst, ',')
	if asString {
		dst = js.AppendValid(dst, e.Payload)
	} else {
		dst = append(dst, e.Payload...)
	}
	return append(dst, ']')
}
