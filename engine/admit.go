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

// Incoming is an event from a client that has not been decoded. It is valid only during the call of Options.Admit.
type Incoming struct {
	Event           string // name of the event
	TextBytes       int    // size of Payload
	AttachmentBytes int    // size of all binary attachments together
	// Payload is the JSON array of the event's name and arguments as the client wrote it, unchecked. Attachments are
	// placeholders in it. Do not change it.
	Payload []byte

	ack socket.Ack
}

// Acknowledge answers the event with args if the client asked for an acknowledgement, and reports whether it did.
// Refuse an event after you have acknowledged it; its listeners would answer again.
func (in Incoming) Acknowledge(args ...any) bool {
	if in.ack != nil {
		in.ack(args, nil)
	}
	return in.ack != nil
}

// smallEvent is the size in bytes up to which an event is decoded without looking for a listener, because looking costs
// as much as decoding.
const smallEvent = 512

// admits reports whether to decode an event: Options.Admit accepts it, and something on the socket may take it. An
// event that nothing takes must be valid all the same, as in Node.js.
func (c *Conn) admits(s *socket.Socket, p *packet) (bool, error) {
	admit := c.srv.options.Admit
	if p.decoded != nil || admit == nil && len(p.body) <= smallEvent { // the user's own parser has decoded it
		return true, nil
	}
	name, ok := eventName(p.body)
	if !ok || reservedEvent(name) {
		return true, nil // the decoder reports what is wrong
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
	valid := false
	p.inTurn(func() { valid = json.Valid(p.body) })
	if !valid {
		return false, fmt.Errorf("%w: payload of %s", ErrPacket, parser.EVENT)
	}
	return false, nil
}

// hasTaker reports whether a socket has a listener for the event, an "any" listener, or a middleware.
func (c *Conn) hasTaker(s *socket.Socket, event string) bool {
	if s.ListenerCount(events.EventName(event)) > 0 || len(s.ListenersAny()) > 0 {
		return true
	}
	middlewares, ok := c.srv.middlewares.of(s)
	return !ok || len(middlewares) > 0
}

// eventName returns the first element of a JSON array if that is a string or a number. A number becomes the text under
// which listeners know it. What follows is not looked at.
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
		case c == '\\': // an escape: leave it to the decoder
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

// numberName returns the event's name if rest begins with a number.
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

// numberText returns a finite number as JavaScript writes it when it is used as a property's name.
func numberText(number float64) string { return string(js.AppendNumber(nil, number)) }

// isArray reports whether body is a valid JSON array.
func isArray(body []byte) bool {
	at := js.SkipSpace(body, 0)
	return at < len(body) && body[at] == '[' && json.Valid(body)
}
