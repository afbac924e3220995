package handlers

import (
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/processor"
	"github.com/architus/guildcast/permissions"
)

// Admit reports whether the engine should decode an event of a client. It refuses, and answers, events that are over a
// rate limit or a size limit and those that the gateway does not know. Use it as the engine's Options.Admit: without it
// the gateway decides the same after decoding, which costs a multiple of the payload's size. Events in other namespaces
// are admitted.
func (g *Gateway) Admit(socket *socket.Socket, in engine.Incoming) bool {
	if socket.Nsp().Name() != namespace {
		return true
	}
	s := g.sessionOf(engine.ConnOf(socket))
	if s == nil || s.id != string(socket.Id()) { // the socket has left, or the gateway is closed
		return false
	}
	return s.admitIncoming(in)
}

func (s *session) admitIncoming(in engine.Incoming) (ok bool) {
	r := &request{session: s, event: in.Event}
	r.ack = func(args []any, _ error) { in.Acknowledge(args...) } // a no-op if the client passed no callback
	defer func() {
		if p := recover(); p != nil {
			s.panicked(in.Event, p)
			r.fail(errInternal())
			ok = false
		}
	}()
	h, known := s.gateway.handlerOf(in.Event)
	s.count(in.Event, known)
	admitted := s.withinRates()
	var arg []byte
	var size int
	processor.Read(len(in.Payload), func() { arg, size = payloadOf(in) })
	fits := within(size, s.gateway.limits().Payload)
	if admitted && known && fits {
		s.admitted.Store(true)
		return true
	}
	processor.Read(len(arg), func() { r.form, r.id = glance(arg) })
	if h.objects {
		r.form = permissions.FormObject
	}
	var err error
	switch {
	case !admitted:
		err = s.refuseOverRate(r)
	case !known:
		r.refuseUnknown()
	default:
		err = r.refuseMalformed(h, errPayload(s.gateway.limits().Payload))
	}
	if err != nil {
		r.fail(err)
	}
	return false
}
