package adminui

import (
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
)

// target is the sockets that a command is for.
type target struct {
	here  *socket.BroadcastOperator // in a namespace of this server, or nil
	there *adapter.Emitter          // in another one
}

// target returns the sockets of a namespace or, if room is not empty, of a room of it. It makes no namespace: clients
// could connect to it.
func (u *UI) target(name, room string) target {
	for _, nsp := range u.namespaces() {
		if nsp.Name() != name {
			continue
		}
		if room != "" {
			return target{here: nsp.In(socket.Room(room))}
		}
		return target{here: socket.NewBroadcastOperator(nsp.Adapter(), nil, nil, nil)}
	}
	there := u.o.Cluster.Of(name)
	if room != "" {
		there = there.In(socket.Room(room))
	}
	return target{there: there}
}

// command has the page's commands carried out.
func (u *UI) command(s *socket.Socket) {
	on := func(name string, run func(words []string, args []any) error) {
		_ = s.On(name, func(args ...any) {
			if n := len(args); n > 0 {
				if _, ok := args[n-1].(socket.Ack); ok {
					args = args[:n-1]
				}
			}
			words := make([]string, 3) // the first arguments, as far as they are texts
			for i := range min(len(args), len(words)) {
				words[i], _ = args[i].(string)
			}
			if words[0] == "" {
				return
			}
			err := run(words, args)
			u.o.Logger.Info("admin ui command", "command", name, "namespace", words[0], "socket_id", string(s.Id()),
				"addr", s.Handshake().Address, "err", err)
		})
	}
	on("emit", func(words []string, args []any) error { // namespace, room, event, arguments
		if len(args) < 3 || words[2] == "" {
			return nil
		}
		t := u.target(words[0], words[1])
		if t.there != nil {
			return t.there.Emit(words[2], args[3:]...)
		}
		return t.here.Emit(words[2], args[3:]...)
	})
	on("join", func(words []string, _ []any) error { // namespace, new room, room
		t, room := u.target(words[0], words[2]), socket.Room(words[1])
		switch {
		case room == "":
		case t.there != nil:
			return t.there.SocketsJoin(room)
		default:
			t.here.SocketsJoin(room)
		}
		return nil
	})
	on("leave", func(words []string, _ []any) error {
		t, room := u.target(words[0], words[2]), socket.Room(words[1])
		switch {
		case room == "":
		case t.there != nil:
			return t.there.SocketsLeave(room)
		default:
			t.here.SocketsLeave(room)
		}
		return nil
	})
	on("_disconnect", func(words []string, args []any) error { // namespace, whether to close connections, room
		closing := false
		if len(args) > 1 {
			closing, _ = args[1].(bool)
		}
		t := u.target(words[0], words[2])
		if t.there != nil {
			return t.there.DisconnectSockets(closing)
		}
		t.here.DisconnectSockets(closing)
		return nil
	})
}
