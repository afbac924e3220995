package engine

import (
	"errors"
	"fmt"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// codec is the parser.Parser of our servers. Its encoder makes Messages. Its decoder only hands on packets that the
// workers of an inbox have decoded, because the library's Client takes packets from its decoder.
type codec struct {
	srv *server
}

// NewEncoder implements parser.Parser.
func (c *codec) NewEncoder() parser.Encoder { return encoder{c.srv} }

// NewDecoder implements parser.Parser.
func (c *codec) NewDecoder() parser.Decoder { return &decoder{} }

type encoder struct {
	srv *server
}

// Encode implements parser.Encoder. It logs and drops a packet that can't be encoded, because the interface has no
// error. (The library's own encoder sends half of such a packet, and the client drops the connection.)
func (e encoder) Encode(p *parser.Packet) []types.BufferInterface {
	m, err := NewMessage(p.Nsp, p)
	if err != nil {
		e.srv.log.Error("packet is not sent", "namespace", p.Nsp, "err", err)
		return nil
	}
	return []types.BufferInterface{newWireBuffer(m)}
}

// decoder hands decoded packets to the library's Client, which is its only listener.
type decoder struct {
	silent
	decoded events.Listener
}

var (
	errForeignInput = errors.New("engine: decoder wants a decoded packet")

	_ parser.Decoder = (*decoder)(nil)
	_ parser.Decoder = (*foreignDecoder)(nil)
)

// Add implements parser.Decoder. It passes on a *parser.Packet, and returns an error.
func (d *decoder) Add(v any) error {
	switch v := v.(type) {
	case *parser.Packet:
		if d.decoded != nil {
			d.decoded(v)
		}
		return nil
	case error:
		return v
	}
	return errForeignInput
}

// Destroy implements parser.Decoder. It keeps the listener, because it may run during Add; a closed Client ignores
// packets.
func (d *decoder) Destroy() {}

// On implements events.EventEmitter. The Client calls it for "decoded", before the first Add.
func (d *decoder) On(_ events.EventName, fns ...events.Listener) error {
	d.decoded = fns[0]
	return nil
}

// foreignCodec wraps a parser of the user's choice, so that its packets are handled in order too.
type foreignCodec struct {
	parser.Parser
}

func (c foreignCodec) NewDecoder() parser.Decoder {
	d := &foreignDecoder{inner: c.Parser.NewDecoder()}
	// On fails only for a nil listener.
	_ = d.inner.On("decoded", func(args ...any) {
		if p, ok := args[0].(*parser.Packet); ok && d.sink != nil {
			d.sink(p)
		}
	})
	return d
}

// foreignInput is a message for a foreignDecoder, and the function that takes the packets in it.
type foreignInput struct {
	data types.BufferInterface
	sink func(*parser.Packet)
}

type foreignDecoder struct {
	decoder
	inner parser.Decoder
	sink  func(*parser.Packet) // set while Add runs
}

func (d *foreignDecoder) Add(v any) error {
	in, ok := v.(*foreignInput)
	if !ok {
		return d.decoder.Add(v)
	}
	d.sink = in.sink
	defer func() { d.sink = nil }()
	if err := d.inner.Add(in.data); err != nil {
		return fmt.Errorf("%w: %w", ErrPacket, err)
	}
	return nil
}

func (d *foreignDecoder) Destroy() { d.inner.Destroy() }

// silent is an events.EventEmitter that never emits.
type silent struct{}

func (silent) AddListener(events.EventName, ...events.Listener) error { return nil }
func (silent) On(events.EventName, ...events.Listener) error          { return nil }
func (silent) Once(events.EventName, ...events.Listener) error        { return nil }
func (silent) Emit(events.EventName, ...any)                          {}
func (silent) EventNames() []events.EventName                         { return nil }
func (silent) GetMaxListeners() uint                                  { return 0 }
func (silent) SetMaxListeners(uint)                                   {}
func (silent) ListenerCount(events.EventName) int                     { return 0 }
func (silent) Listeners(events.EventName) []events.Listener           { return nil }
func (silent) RemoveAllListeners(events.EventName) bool               { return false }
func (silent) RemoveListener(events.EventName, events.Listener) bool  { return false }
func (silent) Clear()                                                 {}
func (silent) Len() int                                               { return 0 }
