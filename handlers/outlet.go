package handlers

import (
	"bytes"
	"context"
	"encoding/json"

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
	room(ctx context.Context, conn *engine.Conn, bytes int) error                            // as engine.Conn.AwaitRoom
}

type engineOutlet struct{}

func (engineOutlet) encode(args []byte) *engine.Message {
	return engine.NewEventMessage(namespace, args, nil)
}

func (engineOutlet) deliver(m *engine.Message, conns []*engine.Conn, loss engine.Loss) []*engine.Conn {
	return engine.Deliver(m, conns, engine.DeliverOptions{Loss: loss})
}

func (engineOutlet) resume(conn *engine.Conn) bool { return conn.Resume() }

func (engineOutlet) room(ctx context.Context, conn *engine.Conn, bytes int) error {
	return conn.AwaitRoom(ctx, bytes)
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

// encode makes JSON of v, which is one of this package's own types and always encodes.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // a programming error; recovered where handlers run
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
