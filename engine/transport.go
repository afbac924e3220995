package engine

import (
	epacket "github.com/zishang520/engine.io-go-parser/packet"
	eparser "github.com/zishang520/engine.io-go-parser/parser"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/transports"
	"github.com/zishang520/engine.io/v2/types"
)

// transportView is a Conn with the methods of a transport, as socket.Conn().Transport() returns it. Users read its
// Name, and the library asks whether it is Writable. It follows the connection through an upgrade. Methods that would
// drive a transport do nothing.
type transportView Conn

var _ transports.Transport = (*transportView)(nil)

func (t *transportView) socket() *engineSocket { return (*engineSocket)(t) }

// Name returns "polling" or "websocket".
func (t *transportView) Name() string { return t.eio.Transport() }

// Writable reports whether the client can take a message now.
func (t *transportView) Writable() bool { return t.eio.Writable() }

// Sid returns the session's id.
func (t *transportView) Sid() string { return t.eio.ID() }

// Protocol returns the revision of Engine.IO, 3 or 4.
func (t *transportView) Protocol() int { return t.eio.Protocol() }

// ReadyState returns the session's state.
func (t *transportView) ReadyState() string { return t.socket().ReadyState() }

// MaxHttpBufferSize returns the server's limit of a message in bytes.
func (t *transportView) MaxHttpBufferSize() int64 { return t.srv.Opts().MaxHttpBufferSize() }

// HttpCompression returns the server's option.
func (t *transportView) HttpCompression() *types.HttpCompression {
	return t.srv.Opts().HttpCompression()
}

// PerMessageDeflate returns the server's option.
func (t *transportView) PerMessageDeflate() *types.PerMessageDeflate {
	return t.srv.Opts().PerMessageDeflate()
}

// Parser returns the library's parser for the session's revision.
func (t *transportView) Parser() eparser.Parser {
	if t.Protocol() == 3 {
		return eparser.Parserv3()
	}
	return eparser.Parserv4()
}

// Proto returns t.
func (t *transportView) Proto() transports.Transport { return t }

// SupportsBinary returns true: a transport without binary frames encodes binary data.
func (t *transportView) SupportsBinary() bool { return true }

// HandlesUpgrades returns true.
func (t *transportView) HandlesUpgrades() bool { return true }

// Discarded returns false.
func (t *transportView) Discarded() bool { return false }

// Close closes the session once the queued messages are sent. The callbacks are called at once.
func (t *transportView) Close(fns ...types.Callable) {
	t.eio.Close(false)
	for _, fn := range fns {
		if fn != nil {
			fn()
		}
	}
}

// The rest does nothing.

func (t *transportView) Prototype(transports.Transport)                {}
func (t *transportView) SetSid(string)                                 {}
func (t *transportView) SetWritable(bool)                              {}
func (t *transportView) SetSupportsBinary(bool)                        {}
func (t *transportView) SetReadyState(string)                          {}
func (t *transportView) SetHttpCompression(*types.HttpCompression)     {}
func (t *transportView) SetPerMessageDeflate(*types.PerMessageDeflate) {}
func (t *transportView) SetMaxHttpBufferSize(int64)                    {}
func (t *transportView) Construct(*types.HttpContext)                  {}
func (t *transportView) Discard()                                      {}
func (t *transportView) OnRequest(*types.HttpContext)                  {}
func (t *transportView) OnError(string, error)                         {}
func (t *transportView) OnPacket(*epacket.Packet)                      {}
func (t *transportView) OnData(types.BufferInterface)                  {}
func (t *transportView) OnClose()                                      {}
func (t *transportView) Send([]*epacket.Packet)                        {}
func (t *transportView) DoClose(types.Callable)                        {}

// Listeners are the session's.

func (t *transportView) On(e events.EventName, fns ...events.Listener) error {
	return t.socket().On(e, fns...)
}

func (t *transportView) AddListener(e events.EventName, fns ...events.Listener) error {
	return t.socket().On(e, fns...)
}

func (t *transportView) Once(e events.EventName, fns ...events.Listener) error {
	return t.socket().Once(e, fns...)
}

func (t *transportView) RemoveListener(e events.EventName, fn events.Listener) bool {
	return t.users.RemoveListener(e, fn)
}

func (t *transportView) RemoveAllListeners(e events.EventName) bool {
	return t.users.RemoveAllListeners(e)
}

func (t *transportView) Emit(e events.EventName, args ...any)           { t.users.Emit(e, args...) }
func (t *transportView) ListenerCount(e events.EventName) int           { return t.users.ListenerCount(e) }
func (t *transportView) Listeners(e events.EventName) []events.Listener { return t.users.Listeners(e) }
func (t *transportView) EventNames() []events.EventName                 { return t.users.EventNames() }
func (t *transportView) Len() int                                       { return t.users.Len() }
func (t *transportView) Clear()                                         { t.users.Clear() }
func (t *transportView) GetMaxListeners() uint                          { return 0 }
func (t *transportView) SetMaxListeners(uint)                           {}
