package engine

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/js"
)

// Incoming is an event that a client has sent and that has not been decoded. It is valid during the call of
// Options.Admit only.
type Incoming struct {
	Event           string // its name
	TextBytes       int    // the size of Payload
	AttachmentBytes int    // the size of the binary attachments together
	// Payload is the JSON array of the event's name and arguments, as the client wrote it: not checked, and read-only.
	// Attachments are placeholders in it.
	Payload []byte

	ack socket.Ack
}

// Acknowledge answers the event with args if the client has asked for an acknowledgement, and reports whether it has.
// An event that has been acknowledged should be refused: its listeners would answer again.
func (in Incoming) Acknowledge(args ...any) bool {
	if in.ack != nil {
		in.ack(args, nil)
	}
	return in.ack != nil
}

// smallEvent is the size in bytes up to which an event is decoded without looking for somebody who takes it: the look
// costs as much.
const smallEvent = 512

// admits reports whether an event is to be decoded: Options.Admit lets it in, and somebody on the socket may take it.
// An event that nobody takes still has to be valid, as in Node.js.
func (c *Conn) admits(s *socket.Socket, p *packet) (bool, error) {
	admit := c.srv.options.Admit
	if p.decoded != nil || admit == nil && len(p.body) <= smallEvent { // a parser that is not ours has decoded it
		return true, nil
	}
	name, ok := eventName(p.body)
	if !ok || reservedEvent(name) {
		return true, nil // decoding says what is wrong
	}
	if admit != nil {
		in := Incoming{Event: name, TextBytes: len(p.body), Payload: p.body}
		for _, b := range p.bins {
			in.AttachmentBytes += len(b)
		}
		if p.hasID {
			in.ack = c.answer(s, p.id)
		}
		if !admit(s, in) {
			return false, nil
		}
	}
	if c.hasTaker(s, name) {
		return true, nil
	}
	if !json.Valid(p.body) {
		return false, fmt.Errorf("%w: payload of %s", ErrPacket, parser.EVENT)
	}
	return false, nil
}

// hasTaker reports whether a socket has a listener of the event, a listener of all events, or a middleware.
func (c *Conn) hasTaker(s *socket.Socket, event string) bool {
	if s.ListenerCount(events.EventName(event)) > 0 || len(s.ListenersAny()) > 0 {
		return true
	}
	middlewares, ok := c.srv.middlewares.of(s)
	return !ok || len(middlewares) > 0
}

// eventName returns the first member of a JSON array if it is a string or a number, the latter as the text under which
// its listeners know it. It looks at nothing behind it.
func eventName(body []byte) (name string, ok bool) {
	at := js.SkipSpace(body, 0)
	if at == len(body) || body[at] != '[' {
		return "", false
	}
	start := js.SkipSpace(body, at+1)
	if start == len(body) {
		return "", false
	}
	if body[start] != '"' {
		return numberName(body[start:])
	}
	for end := start + 1; end < len(body); end++ {
		switch c := body[end]; {
		case c == '\\': // the decoder knows what it means
			end++
			ok = true
		case c < ' ':
			return "", false
		case c == '"' && ok:
			err := json.Unmarshal(body[start:end+1], &name)
			return name, err == nil
		case c == '"':
			return string(body[start+1 : end]), true
		}
	}
	return "", false
}

// numberName returns the name of an event whose name is the number that rest begins with.
func numberName(rest []byte) (name string, ok bool) {
	end := 0
	for end < len(rest) && strings.IndexByte("+-.0123456789Ee", rest[end]) >= 0 {
		end++
	}
	var number float64
	if json.Unmarshal(rest[:end], &number) != nil {
		return "", false
	}
	return numberText(number), true
}

// numberText returns a finite number as JavaScript names a property by it.
func numberText(number float64) string { return string(js.AppendNumber(nil, number)) }

// isArray reports whether body is JSON and an array.
func isArray(body []byte) bool {
	at := js.SkipSpace(body, 0)
	return at < len(body) && body[at] == '[' && json.Valid(body)
}
