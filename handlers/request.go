package handlers

import (
	"encoding/json"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

// request is one event from a client, being answered.
type request struct {
	payload
	session *session
	event   string
	ack     socket.Ack // nil where the client passed no callback
}

// answer sends the final answer: the event, and the same to the client's callback.
func (r *request) answer(event string, body []byte) {
	r.part(event, body)
	r.acknowledge(body)
}

// part sends an answer that is not the last.
func (r *request) part(event string, body []byte) {
	r.session.emit(event, r.form, body)
}

// acknowledge gives body to the client's callback, where there is one. The library sees to it that this counts once.
func (r *request) acknowledge(body []byte) {
	switch {
	case r.ack == nil:
	case r.form == permissions.FormString:
		r.ack([]any{string(body)}, nil)
	default:
		r.ack([]any{json.RawMessage(body)}, nil)
	}
}

// fail ends the request with an error.
func (r *request) fail(err error) {
	r.answer(eventError, r.session.publicError(r.event, err).body(r.id, shown(r.event)))
}

// refuseUnknown answers an event that has no handler: with nothing, as any Socket.IO server does, unless the client
// passed a callback.
func (r *request) refuseUnknown() {
	r.acknowledge((newError(botwire.WordUnknownEvent, "There is no such event.")).body(r.id, shown(r.event)))
}

// refuseMalformed answers a payload that is not taken. It returns the error to answer with, or nil.
func (r *request) refuseMalformed(h handler, bad *Error) error {
	if h.bare {
		r.refuseElevation(bad)
		return nil
	}
	return bad
}
