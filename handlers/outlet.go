package handlers

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/js"
	"github.com/architus/guildcast/permissions"
)

// namespace is the namespace that the gateway serves.
const namespace = "/"

// outlet sends events to clients. It is package engine, or a test's stand-in.
type outlet interface {
	// encode encodes an event. Args is the JSON array of its name and its argument.
	encode(args []byte) *engine.Message

	// deliver is engine.Queue. Shed are the connections for which the message was left out; behind is nil if nobody is.
	deliver(m *engine.Message, conns []*engine.Conn, o engine.DeliverOptions) (shed []*engine.Conn, behind lag)

	// deliverAll is engine.Conn.DeliverAll.
	deliverAll(conn *engine.Conn, messages []*engine.Message)

	// flush is engine.Conn.Flush.
	flush(conn *engine.Conn)

	// queued is engine.Conn.Queued.
	queued(conn *engine.Conn) int

	// resume is engine.Conn.Resume.
	resume(conn *engine.Conn) bool

	// room is engine.Conn.AwaitRoom.
	room(ctx context.Context, conn *engine.Conn, bytes int) error
}

// lag is connections that are behind: *engine.Lag.
type lag interface {
	Wait(stop <-chan struct{})
}

// watchedOutlet is an outlet that tells Config.Sent of what it delivers.
type watchedOutlet struct {
	outlet
	gateway *Gateway
}

func (o watchedOutlet) deliverAll(conn *engine.Conn, messages []*engine.Message) {
	if s := o.gateway.sessionOf(conn); s != nil {
		for _, m := range messages {
			o.gateway.config.Sent([]string{s.id}, m.Event())
		}
	}
	o.outlet.deliverAll(conn, messages)
}

func (o watchedOutlet) deliver(
	m *engine.Message, conns []*engine.Conn, options engine.DeliverOptions,
) ([]*engine.Conn, lag) {
	var sockets []string
	for _, c := range conns {
		if s := o.gateway.sessionOf(c); s != nil {
			sockets = append(sockets, s.id)
		}
	}
	o.gateway.config.Sent(sockets, m.Event())
	return o.outlet.deliver(m, conns, options)
}

type engineOutlet struct{}

func (engineOutlet) encode(args []byte) *engine.Message {
	return engine.NewEventMessage(namespace, args, nil)
}

func (engineOutlet) deliver(
	m *engine.Message, conns []*engine.Conn, o engine.DeliverOptions,
) ([]*engine.Conn, lag) {
	shed, behind := engine.Queue(m, conns, o)
	if behind == nil {
		return shed, nil
	}
	return shed, behind
}

func (engineOutlet) deliverAll(conn *engine.Conn, messages []*engine.Message) {
	conn.DeliverAll(messages)
}

func (engineOutlet) flush(conn *engine.Conn) { conn.Flush() }

func (engineOutlet) queued(conn *engine.Conn) int { return conn.Queued() }

func (engineOutlet) resume(conn *engine.Conn) bool { return conn.Resume() }

func (engineOutlet) room(ctx context.Context, conn *engine.Conn, bytes int) error {
	return conn.AwaitRoom(ctx, bytes)
}

// emit queues an event for the client, in order with all else that is sent to it. Body is JSON. The engine may delay
// the caller by some milliseconds if the client is slow, and drops the event if the client has left.
func (s *session) emit(event string, f permissions.Form, body []byte) {
	if behind := s.queue(event, f, body, engine.DeliverOptions{}); behind != nil {
		behind.Wait(nil)
	}
}

// hold is emit for an event that goes out together with what follows. The caller must call outlet.flush after that.
func (s *session) hold(event string, f permissions.Form, body []byte) {
	s.queue(event, f, body, engine.DeliverOptions{Hold: true})
}

func (s *session) queue(event string, f permissions.Form, body []byte, o engine.DeliverOptions) (behind lag) {
	s.gateway.metrics.answers.WithLabelValues(event).Inc()
	out := s.gateway.outlet
	_, behind = out.deliver(out.encode(eventArgs(event, f, body)), s.conns[:], o)
	return behind
}

// eventArgs returns the JSON array of an event and its argument.
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

// encode returns v as JSON. V is of one of this package's own types, which always encode.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // a bug, which the handlers' callers recover
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// messageKind numbers the four ways in which a guild event is encoded.
func messageKind(f permissions.Form, positions bool) int {
	kind := int(f & 1)
	if positions {
		kind += 2
	}
	return kind
}

// encodeEvent encodes a guild event. With positions it has a second argument: where it stands in the guild's history,
// null for a plain event.
func (g *Gateway) encodeEvent(
	e *event.Event, p history.Position, f permissions.Form, positions bool,
) *engine.Message {
	args := e.AppendArgs(nil, f == permissions.FormString)
	if positions {
		args = append(appendPosition(append(args[:len(args)-1], ','), p), ']')
	}
	return g.outlet.encode(args)
}

// appendPosition appends a position as JSON: a string, or null for none.
func appendPosition(dst []byte, p history.Position) []byte {
	if p.IsZero() {
		return append(dst, "null"...)
	}
	return append(append(append(dst, '"'), p.String()...), '"')
}
