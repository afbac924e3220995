// Package event holds the guild and log events that arrive on Redis: what they look like, how they are parsed, and the
// names of the topics and rooms that they travel through. It does no I/O and decides nothing about who may see what.
package event

import "github.com/architus/guildcast/internal/js"

// Event is one parsed message of a topic. It is immutable; Payload aliases the message that it was parsed from.
type Event struct {
	// Topic is where the message was published. It, and nothing inside the message, says which guild it concerns.
	Topic Topic

	// Name is the Socket.IO event under which Payload goes to the browsers.
	Name string

	// Kind picks the rule of the policy. It is empty if an envelope names none or if a log action's number is not in
	// the table: such an event reaches nobody.
	Kind string

	// Private narrows the event to those who see private logs.
	Private bool

	// Requires narrows the event further.
	Requires Requirement

	// Payload is valid JSON, exactly the bytes that were published.
	Payload []byte
}

// Requirement is the parsed `requires` of a message. The zero value requires nothing more than the policy does.
type Requirement struct {
	// Names of permission bits, as published: whoever resolves them must deny if one of them is unknown.
	Names []string

	// Bits required by number.
	Bits uint64

	// Unclear is set if the message requires something that can't be understood. Nobody holds that.
	Unclear bool
}

// Default names of the events, by topic.
const (
	LogPool  = "log_pool"  // entity updates, on <guild_id>
	LogOther = "log_other" // log entries, on <guild_id>_logs
)

// MaxNameBytes bounds the name of an event.
const MaxNameBytes = 128

// AllowedName reports whether a message may choose name for its event. Not allowed are the names that Socket.IO clients
// and servers reserve, "error", which is how a node reports a failed request, and names that are empty, too long, or
// hold control characters.
func AllowedName(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "connection", "newListener", "removeListener", "error":
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

// AppendArgs appends to dst the JSON array of a Socket.IO event's name and argument, and returns it: ["log_pool",{...}],
// or, asString, ["log_pool","{...}"] with the payload serialised into a string for clients that use that form.
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
