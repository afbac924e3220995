package engine

import (
	"github.com/zishang520/socket.io/v2/socket"
)

// Adapter is the in-process adapter: rooms and fan-out of one node. The adapters of package adapter embed it.
type Adapter struct{ socket.Adapter }

// AdapterBuilder makes Adapters; it is the default of NewServer.
type AdapterBuilder struct{}

// New implements socket.AdapterConstructor.
func (AdapterBuilder) New(nsp socket.Namespace) socket.Adapter {
	a := MakeAdapter()
	a.Prototype(a)
	a.Construct(nsp)
	return a
}

// MakeAdapter returns an adapter to embed: call Prototype with the outermost type, then Construct.
func MakeAdapter() *Adapter { return &Adapter{socket.MakeAdapter()} }

// HasMembers tells whether any of rooms has a member here. It does not allocate.
func (a *Adapter) HasMembers(rooms ...socket.Room) bool {
	for _, r := range rooms {
		if s, ok := a.Rooms().Load(r); ok && s.Len() > 0 {
			return true
		}
	}
	return false
}

// BroadcastMessage delivers m to the local sockets that opts selects (nil: all), each at most once.
func (a *Adapter) BroadcastMessage(m *Message, opts *socket.BroadcastOptions) {
	a.Adapter.FetchSockets(opts)(func(ds []socket.SocketDetails, _ error) {
		for _, d := range ds {
			if s, ok := d.(*socket.Socket); ok {
				Deliver(m, []*Conn{ConnOf(s)}, DeliverOptions{})
			}
		}
	})
}
