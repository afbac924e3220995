package engine

import "github.com/architus/guildcast/engine/internal/eio"

// Group compresses what is sent to connections that get the same messages, such as the members of a room: each message
// once for all of them, with references to those before. An event of 300 bytes that resembles its predecessors shrinks
// to about a fifth, where compressing it alone saves a third. Pass the Group to Deliver or Queue with each message, and
// set Options.ContextTakeover.
//
// The connections may change from one message to the next. One that has not got the last 8 KiB of the group's messages,
// or that was sent another compressed message meanwhile, is sent messages that are compressed alone, until it has.
// Other messages are sent to it as they are, or compressed if they are large, after which it has to catch up again.
// Clients that poll, or that refuse to keep a window, are sent messages as without a Group. Attachments are not
// compressed with references.
//
// One Group must not hold secrets of different connections: whoever can guess what is in a message, and sees how long
// the encrypted messages are, can check the guess if somebody repeats it in the same Group (BREACH).
//
// The zero value is ready to use. A Group takes up to 8 KiB, and a connection nothing. All methods may be called
// concurrently; messages should be delivered to a connection one after the other.
type Group struct{ context eio.Group }

// share returns m as the group's next message.
func (g *Group) share(m *Message) *Message {
	n := *m
	n.frames = make([]*eio.Frame, len(m.frames))
	for i, f := range m.frames {
		n.frames[i] = g.context.Share(f)
	}
	return &n
}
