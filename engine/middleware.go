package engine

import (
	"reflect"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

// middlewareField reads the middlewares that socket.Use has registered on a socket. The library keeps them in a private
// field, and loses the order of events when it runs them; see docs/decisions/0002-socket-middlewares.md. The field is
// looked up by name and type when the server starts. If the library has changed it, the library dispatches the events.
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
