package handlers

import "github.com/architus/guildcast/event"

// complaint is the subject of a line in the log: there is one line per topic, fault and minute. An unknown kind and a
// malformed message are two subjects, so that neither hides the other.
type complaint struct {
	topic event.Topic
	fault fault
}

type fault uint8

const (
	malformedEvent fault = iota
	unknownKind
)
