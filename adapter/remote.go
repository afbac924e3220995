package adapter

import (
	"net/http"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// remoteSocket is a socket of another server, as FetchSockets describes it.
type remoteSocket struct {
	id        socket.SocketId
	handshake *socket.Handshake
	rooms     *types.Set[socket.Room]
	data      any
}

func (s *remoteSocket) Id() socket.SocketId            { return s.id }
func (s *remoteSocket) Handshake() *socket.Handshake   { return s.handshake }
func (s *remoteSocket) Rooms() *types.Set[socket.Room] { return s.rooms }
func (s *remoteSocket) Data() any                      { return s.data }

// decodeSocket reads {id, handshake, rooms, data}. A missing field is empty, never nil: the library's users do
// not check.
func decodeSocket(v wire.Value) (*remoteSocket, bool) {
	id := v.Get("id")
	if id.Kind() != wire.String {
		return nil, false
	}
	s := &remoteSocket{
		id:        socket.SocketId(id.Text()),
		handshake: decodeHandshake(v.Get("handshake")),
		rooms:     types.NewSet[socket.Room](),
		data:      v.Get("data").Go(toBuffer),
	}
	for r := range v.Get("rooms").Elems() {
		s.rooms.Add(socket.Room(r.Text()))
	}
	return s, true
}

func decodeHandshake(v wire.Value) *socket.Handshake {
	h := &socket.Handshake{Headers: map[string][]string{}, Query: map[string][]string{}, Auth: map[string]any{}}
	for k, f := range v.Fields() {
		switch k.Text() {
		case "headers":
			// As net/http spells them, which is how the handshake of a local socket has them.
			for name, x := range f.Fields() {
				h.Headers[http.CanonicalHeaderKey(name.Text())] = texts(x)
			}
		case "query":
			for name, x := range f.Fields() {
				h.Query[name.Text()] = texts(x)
			}
		case "time":
			h.Time = f.Text()
		case "address":
			h.Address = text(f)
		case "xdomain":
			h.Xdomain = f.Truthy()
		case "secure":
			h.Secure = f.Truthy()
		case "issued":
			if ms := f.Float(); ms > 0 && ms < 1<<53 {
				h.Issued = int64(ms)
			}
		case "url":
			h.Url = text(f)
		case "auth":
			h.Auth = f.Go(toBuffer)
		}
	}
	return h
}

// texts reads a string, or a list of them.
func texts(v wire.Value) []string {
	if v.Kind() != wire.Array {
		return []string{v.Text()}
	}
	out := []string{}
	for e := range v.Elems() {
		out = append(out, e.Text())
	}
	return out
}

func text(v wire.Value) string {
	if !v.Present() {
		return ""
	}
	return v.Text()
}

// toBuffer converts binary to the type that a client's binary has.
func toBuffer(b []byte) any { return types.NewBytesBuffer(b) }
