package handlers

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/permissions"
)

// handler answers one event. It returns the error to answer with, or nil when the answer was given or will be.
type handler struct {
	answer  func(*request) error
	bare    bool // a payload may be a plain string that is no JSON object
	objects bool // answers are objects, whatever the form of the request
}

// handlerOf is the table of events.
func handlerOf(event string) (h handler, known bool) {
	switch event {
	case eventRequestElevation:
		return handler{answer: onRequestElevation, bare: true}, true
	case eventDemote:
		return handler{answer: onDemote}, true
	case eventSpectate:
		return handler{answer: onSpectate}, true
	case eventPool:
		return handler{answer: onPool}, true
	case eventInterpret:
		return handler{answer: onInterpret, objects: true}, true
	}
	return handler{}, false
}

// onEvent is called by the library with every event of the socket, one after another: its name, its arguments, and the
// client's callback where there is one.
func (s *session) onEvent(args ...any) {
	name, _ := args[0].(string)
	r := &request{session: s, event: name}
	args = args[1:]
	if n := len(args); n > 0 {
		if ack, ok := args[n-1].(socket.Ack); ok {
			r.ack, args = ack, args[:n-1]
		}
	}
	defer func() {
		if p := recover(); p != nil { // one client's business must not become everybody's
			s.panicked(name, p)
			r.fail(errInternal())
		}
	}()
	if err := r.handle(args); err != nil {
		r.fail(err)
	}
}

func (r *request) handle(args []any) error {
	s := r.session
	h, known := handlerOf(r.event)
	var arg any
	if len(args) > 0 {
		arg = args[0]
		if known {
			args[0] = nil // the library keeps its slice until the event is handled
		}
	}
	var bad *Error
	// The payload of an unknown event may be anything; it is read for its form and its _id, which the error echoes.
	r.payload, bad = decodePayload(arg, s.gateway.limits.Payload, h.bare || !known)
	if h.objects {
		r.form = permissions.FormObject
	}
	admitted := s.admitted.Swap(false)
	if !admitted { // the engine does not ask Admit
		s.count(r.event, known)
		admitted = s.admit()
	}
	switch {
	case !admitted:
		return s.refuse(r)
	case !known:
		r.refuseUnknown()
		return nil
	case bad != nil:
		return r.refuseMalformed(h, bad)
	}
	return h.answer(r)
}

// count counts an event. Names that clients make up share a label.
func (s *session) count(event string, known bool) {
	if !known {
		event = "unknown"
	}
	s.gateway.metrics.events.WithLabelValues(event).Inc()
}

// maxShownName bounds an event's name in answers and in the log, in bytes.
const maxShownName = 100

// shown is an event's name as it is passed on: clients choose it, and its length.
func shown(event string) string {
	if len(event) <= maxShownName {
		return event
	}
	return strings.ToValidUTF8(event[:maxShownName], "")
}

func (s *session) panicked(event string, p any) {
	s.gateway.metrics.panics.Inc()
	s.log().Error("handler panicked", "event", shown(event), "err", fmt.Sprint(p), "stack", string(debug.Stack()))
}
