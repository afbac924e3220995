package engine

import (
	"reflect"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

// middlewareField finds the middlewares that socket.Use has registered on a socket. The library keeps them in a private
// field, and its own way of running them loses the order of events; see docs/decisions/0002-socket-middlewares.md. The
// field is found by name and type when the server starts. If a later version of the library has changed it, events take
// the library's way.
type middlewareField struct {
	index int
	ok    bool
}

func findMiddlewareField() middlewareField {
	f, ok := reflect.TypeFor[socket.Socket]().FieldByName("fns")
	if !ok || len(f.Index) != 1 || f.Type != reflect.TypeFor[*types.Slice[socket.SocketMiddleware]]() {
		return middlewareField{}
	}
	return middlewareField{f.Index[0], true}
}

// of returns the middlewares of a socket, or false if they can't be found.
func (f middlewareField) of(s *socket.Socket) ([]socket.SocketMiddleware, bool) {
	if !f.ok {
		return nil, false
	}
	v := reflect.ValueOf(s).Elem().Field(f.index)
	return (*types.Slice[socket.SocketMiddleware])(v.UnsafePointer()).All(), true
}
