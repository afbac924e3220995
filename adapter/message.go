package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
)

// message is a broadcast, command or request to the other servers.
type message struct {
	kind  messageKind
	id    string       // of the request; empty if no answer is wanted
	data  any          // event and arguments, of broadcast and serverSideEmit
	opts  wire.Options // but of listings
	rooms []string     // of join, leave and listSockets
	close bool         // of disconnect
}

type messageKind int

const (
	broadcast      messageKind = iota // with an id: to be acknowledged
	join                              // rooms
	leave                             // rooms
	disconnect                        // close
	fetchSockets                      // their descriptions
	listSockets                       // in rooms; classic only
	listRooms                         // classic only
	serverSideEmit                    // data
)
