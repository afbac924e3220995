package handlers

import "github.com/architus/guildcast/event"

// complaint identifies a log line: each is logged once a minute. A topic's unknown kinds and its malformed messages are
// two complaints, so that neither hides the other.
type complaint struct {
	topic event.Topic
	fault fault
}

type fault uint8

const (
	malformedEvent fault = iota
	unknownKind
	notRecovered // a client can't have all that it missed
	unfitEntity  // for the first dashboard; the topic is that of the entity's guild
)
