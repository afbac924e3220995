//go:build integration

package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/engine.io/v2/utils"
	"github.com/zishang520/socket.io/v2/socket"
)

// conformApp is what the servers of the comparison do, the same as in node/conform/server.mjs.
type conformApp struct {
	io  *socket.Server
	log func(format string, args ...any)
}

func (a *conformApp) register(headers bool) {
	a.serve(a.io.Sockets())
	a.serve(a.io.Of("/custom", nil))
	refuse := a.io.Of("/refuse", nil)
	refuse.Use(func(s *socket.Socket, next func(*socket.ExtendedError)) {
		auth, _ := s.Handshake().Auth.(map[string]any)
		switch {
		case auth["ok"] != nil:
			next(nil)
		case auth["data"] != nil:
			next(socket.NewExtendedError("not for you", map[string]any{"code": 7, "why": []any{"a", "b"}}))
		default:
			next(socket.NewExtendedError("not for you", nil))
		}
	})
	a.serve(refuse)
	a.serve(a.io.Of(regexp.MustCompile(`^/dyn-\d+$`), nil))
	match := func(name string, auth any, next func(error, bool)) {
		m, _ := auth.(map[string]any)
		next(nil, strings.HasPrefix(name, "/fn-") && m["pass"] == "yes")
	}
	a.serve(a.io.Of(socket.ParentNspNameMatchFn(&match), nil))
	_ = a.io.Engine().On("connection_error", func(args ...any) {
		e := args[0].(*types.ErrorMessage)
		context := maps.Clone(e.Context)
		delete(context, "error")
		a.log("connection_error %d %s %s", e.Code, e.Message, text(context))
	})
	if headers {
		for event, name := range map[string]string{"initial_headers": "x-initial", "headers": "x-every"} {
			_ = a.io.Engine().On(types.EventName(event), func(args ...any) {
				args[0].(*utils.ParameterBag).Set(name, "1")
			})
		}
	}
}

func (a *conformApp) serve(nsp socket.Namespace) {
	_ = nsp.On("connection", func(args ...any) { a.connected(args[0].(*socket.Socket)) })
}

func (a *conformApp) connected(s *socket.Socket) {
	name := s.Nsp().Name()
	a.log("connection %s recovered=%v rooms=%d data=%s", name, s.Recovered(), s.Rooms().Len(), text(orEmpty(s.Data())))
	on := func(event string, fn func(args []any)) { _ = s.On(event, func(args ...any) { fn(args) }) }
	on("disconnecting", func(args []any) { a.log("disconnecting %s %v rooms=%d", name, args[0], s.Rooms().Len()) })
	on("disconnect", func(args []any) { a.log("disconnect %s %v rooms=%d", name, args[0], s.Rooms().Len()) })
	on("error", func(args []any) { a.log("error %s", name) })
	a.emit(s, "auth", s.Handshake().Auth)
	on("message", func(args []any) { a.emit(s, "message-back", args...) })
	on("message-with-ack", func(args []any) {
		args, ack := cutAck(args)
		ack(args, nil)
	})
	on("twice", func(args []any) {
		_, ack := cutAck(args)
		ack([]any{1}, nil)
		ack([]any{2}, nil)
	})
	on("count", func(args []any) { a.log("count %v", args[0]) })
	next, misplaced := 0, 0
	on("ordered", func(args []any) {
		n := int(args[0].(float64))
		if n != next {
			misplaced++
		}
		next = n + 1
		if len(args) > 1 && args[1] == true {
			a.emit(s, "ordered-done", next, misplaced)
		}
	})
	on("do", func(args []any) {
		list, ack := cutAck(args)
		var result any
		for _, step := range list[0].([]any) {
			result = a.step(s, step.(map[string]any))
		}
		if ack != nil {
			ack([]any{result}, nil)
		}
	})
	for _, event := range []string{"1", "refused", "dropped", "passed", ""} {
		on(event, func(args []any) {
			args, ack := cutAck(args)
			a.log("event %q %s", event, text(args))
			if ack != nil {
				ack([]any{event}, nil)
			}
		})
	}
}

func (a *conformApp) emit(s *socket.Socket, event string, args ...any) {
	if err := s.Emit(event, args...); err != nil {
		a.log("emit %s: %v", event, err)
	}
}

// step is one of those in server.mjs.
func (a *conformApp) step(s *socket.Socket, m map[string]any) any {
	event, _ := m["event"].(string)
	args, _ := m["args"].([]any)
	switch m["op"] {
	case "emit":
		if m["volatile"] == true {
			s = s.Volatile()
		}
		if c, ok := m["compress"].(bool); ok {
			s = s.Compress(c)
		}
		a.emit(s, event, args...)
	case "call":
		a.call(s, event, args, m["timeout"])
	case "wait":
		answer := make(chan any, 1)
		s.EmitWithAck(event, args...)(func(args []any, _ error) { answer <- args[0] })
		return <-answer
	case "ask":
		a.ask(s, m, event, args)
	case "join":
		s.Join(roomsOf(m, "rooms")...)
	case "leave":
		for _, r := range roomsOf(m, "rooms") {
			s.Leave(r)
		}
	case "send":
		_ = a.operator(s, m).Emit(event, args...)
	case "all":
		b := a.operator(s, m)
		if r := roomsOf(m, "join"); r != nil {
			b.SocketsJoin(r...)
		}
		if r := roomsOf(m, "leave"); r != nil {
			b.SocketsLeave(r...)
		}
		if status, ok := m["disconnect"].(bool); ok {
			b.DisconnectSockets(status)
		}
	case "fetch":
		return a.fetch(a.operator(s, m))
	case "rooms":
		var names []string
		for _, r := range s.Rooms().Keys() {
			if string(r) == string(s.Id()) {
				r = "own"
			}
			names = append(names, string(r))
		}
		slices.Sort(names)
		return names
	case "data":
		s.SetData(m["set"])
	case "handshake":
		return handshake(s)
	case "transport":
		return s.Conn().Transport().Name()
	case "many":
		for i := range int(m["count"].(float64)) {
			a.emit(s, event, i)
		}
	case "disconnect":
		s.Disconnect(m["close"] == true)
	case "conn":
		s.Conn().Close(false)
	case "use":
		s.Use(func(args []any, next func(error)) {
			a.log("%v: %v %s", m["name"], args[0], text(plain(args[1:])))
			switch args[0] {
			case "refused":
				next(fmt.Errorf("refused by %v", m["name"]))
			case "dropped":
			default:
				next(nil)
			}
		})
	case "any":
		s.OnAny(func(args ...any) { a.log("any %v %s", args[0], text(plain(args[1:]))) })
		s.OnAnyOutgoing(func(args ...any) { a.log("outgoing %v %s", args[0], text(plain(args[1:]))) })
	}
	return nil
}

func (a *conformApp) call(s *socket.Socket, event string, args []any, timeout any) {
	caller := s
	if ms, ok := timeout.(float64); ok {
		caller = s.Timeout(time.Duration(ms) * time.Millisecond)
	}
	caller.EmitWithAck(event, args...)(func(answer []any, err error) {
		if err != nil {
			a.log("ack of %s: error %v", event, err)
			a.emit(s, "called", "error")
			return
		}
		a.log("ack of %s: %s", event, text(answer))
		a.emit(s, "called", answer...)
	})
}

func (a *conformApp) ask(s *socket.Socket, m map[string]any, event string, args []any) {
	b := s.Nsp().Except()
	if to, ok := m["to"].(string); ok {
		b = b.To(socket.Room(to))
	}
	b = b.Timeout(time.Duration(m["timeout"].(float64)) * time.Millisecond)
	b.EmitWithAck(event, args...)(func(answers []any, err error) {
		said := "none missing"
		if err != nil {
			said = "error " + err.Error()
		}
		texts := make([]string, 0, len(answers))
		for _, x := range answers {
			texts = append(texts, text(x))
		}
		sort.Strings(texts)
		a.log("answers to %s: %s %s", event, said, text(texts))
		a.emit(s, "asked", err != nil, len(answers))
	})
}

func (a *conformApp) operator(s *socket.Socket, m map[string]any) *socket.BroadcastOperator {
	b := s.Nsp().Except()
	if m["from"] == "socket" {
		b = s.Broadcast()
	}
	if m["local"] == true {
		b = b.Local()
	}
	if m["volatile"] == true {
		b = b.Volatile()
	}
	for _, r := range roomsOf(m, "to") {
		b = b.To(r)
	}
	for _, r := range roomsOf(m, "except") {
		b = b.Except(r)
	}
	return b
}

func (a *conformApp) fetch(b *socket.BroadcastOperator) any {
	found := []any{}
	b.FetchSockets()(func(all []*socket.RemoteSocket, err error) {
		if err != nil {
			a.log("fetch: %v", err)
		}
		for _, r := range all {
			names := []string{}
			own := false
			for _, room := range r.Rooms().Keys() {
				if string(room) == string(r.Id()) {
					own = true
				} else {
					names = append(names, string(room))
				}
			}
			slices.Sort(names)
			found = append(found, map[string]any{"data": orEmpty(r.Data()), "rooms": names, "own": own})
		}
	})
	sort.Slice(found, func(i, j int) bool { return text(found[i]) < text(found[j]) })
	return found
}

func handshake(s *socket.Socket) map[string]any {
	h := s.Handshake()
	query := map[string]any{}
	for name, values := range h.Query {
		query[name] = values[0]
	}
	var agent any
	if v := http.Header(h.Headers).Get("X-Test"); v != "" {
		agent = v
	}
	return map[string]any{"auth": h.Auth, "query": query, "xdomain": h.Xdomain, "secure": h.Secure, "url": h.Url,
		"agent": agent, "transport": s.Conn().Transport().Name(), "protocol": s.Conn().Protocol()}
}

func roomsOf(m map[string]any, key string) (names []socket.Room) {
	switch v := m[key].(type) {
	case string:
		names = append(names, socket.Room(v))
	case []any:
		for _, r := range v {
			names = append(names, socket.Room(r.(string)))
		}
	}
	return names
}

// cutAck takes the acknowledgement function off the end of a listener's arguments.
func cutAck(args []any) ([]any, socket.Ack) {
	if n := len(args); n > 0 {
		if ack, ok := args[n-1].(socket.Ack); ok {
			return args[:n-1], ack
		}
	}
	return args, nil
}

func plain(args []any) []any {
	args, _ = cutAck(args)
	return args
}

func orEmpty(v any) any {
	if v == nil {
		return map[string]any{} // what socket.data is in Node before it is set
	}
	return v
}

// text is JSON as JSON.stringify writes it, with binary data as {"$bin": base64}.
func text(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(visible(v)); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func visible(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = visible(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = visible(v[k])
		}
		return out
	case *types.BytesBuffer:
		return map[string]any{"$bin": base64.StdEncoding.EncodeToString(v.Bytes())}
	case io.Reader:
		b, _ := io.ReadAll(v)
		return map[string]any{"$bin": base64.StdEncoding.EncodeToString(b)}
	}
	return v
}
