package handlers

import "github.com/architus/guildcast/event"

// complaint is what a line in the log is about. There is one line per topic, fault and minute: an unknown kind must not
// keep the first malformed message out of it.
type complaint struct {
	topic event.Topic
	fault fault
}

type fault uint8

const (
	malformedEvent fault = iota
	unknownKind
)
