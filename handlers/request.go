package handlers

import (
	"encoding/json"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

// request is one event of a client.
type request struct {
	payload
	session *session
	event   string
	ack     socket.Ack // the client's callback; may be nil
	began   time.Time  // when it was taken up
}

// answer sends the last answer, as an event and to the client's callback.
func (r *request) answer(event string, body []byte) {
	r.part(event, body)
	r.answered(body)
}

// hold is answer for an event that goes out together with what follows. The caller must call outlet.flush after that.
func (r *request) hold(event string, body []byte) {
	r.session.hold(event, r.form, body)
	r.answered(body)
}

func (r *request) answered(body []byte) {
	r.acknowledge(body)
	r.session.gateway.metrics.durations.observe(durationRequest, r.event, r.began)
}

// part sends a part of the answer that is not the last.
func (r *request) part(event string, body []byte) {
	r.session.emit(event, r.form, body)
}

// acknowledge calls the client's callback, if there is one, with body. The library ignores a second call.
func (r *request) acknowledge(body []byte) {
	switch {
	case r.ack == nil:
	case r.form == permissions.FormString:
		r.ack([]any{string(body)}, nil)
	default:
		r.ack([]any{json.RawMessage(body)}, nil)
	}
}

// fail answers with an error.
func (r *request) fail(err error) {
	public := r.session.publicError(r.event, err)
	if r.compat() {
		r.failCompat(public)
		return
	}
	r.answer(eventError, public.body(r.id, shown(r.event)))
}

// refuseUnknown answers an event that has no handler. Like any Socket.IO server it says nothing, unless the client
// passed a callback.
func (r *request) refuseUnknown() {
	r.acknowledge((newError(botwire.WordUnknownEvent, "There is no such event.")).body(r.id, shown(r.event)))
}

// refuseMalformed refuses a payload. It returns the error to answer with, or nil if it has answered.
func (r *request) refuseMalformed(h handler, bad *Error) error {
	if h.bare {
		r.refuseElevation(bad)
		return nil
	}
	return bad
}
