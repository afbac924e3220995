package handlers

import (
	"encoding/json"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/js"
	"github.com/architus/guildcast/permissions"
)

// namespace is the one that the gateway serves.
const namespace = "/"

// outlet is how events leave for clients: package engine.
type outlet interface {
	encode(args []byte) *engine.Message                                                      // the JSON array of an event and its argument
	deliver(m *engine.Message, conns []*engine.Conn, loss engine.Loss) (shed []*engine.Conn) // as engine.Deliver
	resume(conn *engine.Conn) bool                                                           // as engine.Conn.Resume
}

type engineOutlet struct{}

func (engineOutlet) encode(args []byte) *engine.Message {
	return engine.NewEventMessage(namespace, args, nil)
}

func (engineOutlet) deliver(m *engine.Message, conns []*engine.Conn, loss engine.Loss) []*engine.Conn {
	return engine.Deliver(m, conns, engine.DeliverOptions{Loss: loss})
}

func (engineOutlet) resume(conn *engine.Conn) bool { return conn.Resume() }

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
	r.answer("error", r.session.publicError(r.event, err).body(r.id, shown(r.event)))
}

// emit queues an event for the client, in order with everything else that is sent to it. Body is JSON. The engine may
// hold the caller up for some milliseconds where the client is slow, and drops what is for a client that left.
func (s *session) emit(event string, f permissions.Form, body []byte) {
	s.gateway.metrics.answers.WithLabelValues(event).Inc()
	out := s.gateway.outlet
	out.deliver(out.encode(eventArgs(event, f, body)), s.conns[:], engine.Keep)
}

// eventArgs is the JSON array of an event and its argument.
func eventArgs(event string, f permissions.Form, body []byte) []byte {
	args := make([]byte, 0, len(body)+len(body)/8+len(event)+8)
	args = append(js.AppendString(append(args, '['), event), ',')
	if f == permissions.FormString {
		args = js.AppendBytes(args, body)
	} else {
		args = append(args, body...)
	}
	return append(args, ']')
}
