package handlers

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/permissions"
)

// handler answers one kind of request.
type handler struct {
	// answer returns the error to answer with, or nil if it has answered or a task will.
	answer func(*request) error

	bare    bool // the payload may be a string that holds no JSON object
	objects bool // answers are objects, whatever the form of the request
	compat  bool // the event is of the first dashboard; see Compat
}

// handlerOf returns the handler of an event.
func (g *Gateway) handlerOf(event string) (h handler, known bool) {
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
	if g.config.Compat == CompatArchitus {
		return compatHandler(event)
	}
	return handler{}, false
}

// onEvent handles an event of the socket. The library calls it with one event after another: the name, the arguments,
// and the client's callback if there is one.
func (s *session) onEvent(args ...any) {
	name, _ := args[0].(string)
	r := &request{session: s, event: name, began: time.Now()}
	defer s.gateway.metrics.durations.observe(durationHandler, name, r.began)
	args = args[1:]
	if n := len(args); n > 0 {
		if ack, ok := args[n-1].(socket.Ack); ok {
			r.ack, args = ack, args[:n-1]
		}
	}
	defer func() {
		if p := recover(); p != nil { // one client must not end the node for all
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
	h, known := s.gateway.handlerOf(r.event)
	var arg any
	if len(args) > 0 {
		arg = args[0]
		if known {
			args[0] = nil // the library keeps its slice until the event is handled
		}
	}
	var bad *Error
	// The payload of an unknown event may be anything. Its form and its _id are read for the error.
	r.payload, bad = decodePayload(arg, s.gateway.limits().Payload, h.bare || !known)
	if h.objects {
		r.form = permissions.FormObject
	}
	admitted := s.admitted.Swap(false)
	if !admitted { // the engine does not call Admit
		s.count(r.event, known)
		admitted = s.withinRates()
	}
	switch {
	case !admitted:
		return s.refuseOverRate(r)
	case !known:
		r.refuseUnknown()
		return nil
	case bad != nil:
		return r.refuseMalformed(h, bad)
	}
	return h.answer(r)
}

// count counts an event in the metrics. Names that clients make up share a label.
func (s *session) count(event string, known bool) {
	if !known {
		event = "unknown"
	}
	s.gateway.metrics.events.WithLabelValues(event).Inc()
}

// maxShownName is how many bytes of an event's name are repeated in answers and in the log.
const maxShownName = 100

// shown returns an event's name, cut to maxShownName: clients choose the name and its length.
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
