package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

func ackOf(args []any) socket.Ack {
	fn, _ := args[len(args)-1].(socket.Ack)
	return fn
}

func TestEventsInOrder(t *testing.T) {
	const n = 5000
	done := make(chan int, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		next := 0
		_ = s.On("e", func(args ...any) {
			if int(args[0].(float64)) != next {
				t.Errorf("event %v, want %d", args[0], next)
			}
			if next++; next == n {
				done <- next
			}
		})
	})
	c := s.connect(t, "")
	for i := range n {
		c.send(fmt.Sprintf(`42["e",%d]`, i))
	}
	receive(t, done, "last event")
}

// A handler that waits for its own client's acknowledgement gets it, though 20,000 events are queued before it.
func TestAckBehindEvents(t *testing.T) {
	const n = 20_000
	done := make(chan any, 1)
	var handled atomic.Int32
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("ask", func(...any) {
			answer := make(chan []any, 1)
			s.EmitWithAck("question")(func(args []any, _ error) { answer <- args })
			done <- (<-answer)[0]
		})
		_ = s.On("e", func(...any) { handled.Add(1) })
	})
	c := s.connect(t, "")
	c.send(`42["ask"]`)
	for range n {
		c.send(`42["e","` + strings.Repeat("x", 100) + `"]`)
	}
	q := c.expectPrefix("42")
	c.send("43" + strings.TrimSuffix(q[2:], `["question"]`) + `["yes"]`)
	if got := receive(t, done, "answer"); got != "yes" {
		t.Errorf("answer %v", got)
	}
	wait.Until(t, "all events handled", func() bool { return handled.Load() == n })
}

// What arrives with, or right behind, the CONNECT waits for the "connection" listeners.
func TestEventsBeforeConnectionListenersReturn(t *testing.T) {
	release := make(chan struct{})
	got := make(chan []any, 4)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		<-release
		_ = s.On("e", func(args ...any) { got <- args })
	})
	c := s.dial(t, "EIO=4")
	c.send("40", `42["e",1]`, `42["e",2]`)
	c.expectPrefix("40")
	close(release)
	for want := 1; want <= 2; want++ {
		if args := receive(t, got, "event"); args[0] != float64(want) {
			t.Errorf("got %v, want %d", args, want)
		}
	}
}

func TestAuth(t *testing.T) {
	got := make(chan any, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) { got <- s.Handshake().Auth })
	for auth, want := range map[string]string{"": "{}", `{"token":"x"}`: `{"token":"x"}`} {
		s.connect(t, auth)
		if a := toJSON(t, receive(t, got, "connection")); a != want {
			t.Errorf("auth %s, want %s", a, want)
		}
	}
}

func TestAcknowledgement(t *testing.T) {
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) {
			ack := ackOf(args)
			ack(args[:len(args)-1], nil)
			ack([]any{"again"}, nil)
			_ = s.Emit("after")
		})
		_ = s.On("none", func(args ...any) { ackOf(args)(nil, nil) })
		_ = s.On("binary", func(args ...any) { ackOf(args)([]any{args[0], []byte{9}}, nil) })
	})
	c := s.connect(t, "")
	c.send(`427["e",1,"a"]`)
	c.expect(`437[1,"a"]`)
	c.expect(`42["after"]`)
	c.send(`428["none"]`)
	c.expect(`438[]`)
	c.send(`451-9["binary",{"_placeholder":true,"num":0}]`)
	c.sendBinary([]byte{1, 2})
	c.expect(`462-9[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	c.expect("\x01\x02")
	c.expect("\x09")
}

func TestAckTimeout(t *testing.T) {
	got := make(chan error, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		s.Timeout(10 * time.Millisecond).EmitWithAck("q")(func(_ []any, err error) { got <- err })
	})
	s.connect(t, "")
	if err := receive(t, got, "timeout"); err == nil {
		t.Error("no error")
	}
}

func TestAnyListenersAndMiddlewares(t *testing.T) {
	var mu sync.Mutex
	var log []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, fmt.Sprintf(format, args...))
	}
	done := make(chan struct{})
	release := make(chan struct{})
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		s.OnAny(func(args ...any) { note("any %v", args[0]) })
		s.Use(func(event []any, next func(error)) {
			switch event[0] {
			case "dropped":
			case "refused":
				next(errors.New("no"))
			case "delayed":
				go func() { <-release; next(nil) }()
			default:
				next(nil)
			}
		})
		s.Use(func(event []any, next func(error)) {
			note("second %v", event[0])
			next(nil)
			next(nil) // has no effect
		})
		_ = s.On("error", func(args ...any) { note("error %v", args[0]) })
		for _, name := range []string{"a", "dropped", "refused", "delayed", "b"} {
			_ = s.On(name, func(...any) { note("on %s", name) })
		}
		_ = s.On("release", func(...any) { close(release) })
		_ = s.On("delayed", func(...any) { close(done) })
	})
	c := s.connect(t, "")
	for _, name := range []string{"a", "dropped", "refused", "delayed", "b", "release"} {
		c.send(fmt.Sprintf(`42[%q]`, name))
	}
	receive(t, done, "delayed event")
	want := "any a|second a|on a|any dropped|any refused|error no|any delayed|any b|second b|on b|any release|second release|second delayed|on delayed"
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(log, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMiddlewareFieldIsFound(t *testing.T) {
	f := findMiddlewareField()
	s := socket.MakeSocket()
	if m, ok := f.of(s); !ok || len(m) != 0 {
		t.Fatal("the library keeps its middlewares elsewhere")
	}
	s.Use(func([]any, func(error)) {})
	if m, ok := f.of(s); !ok || len(m) != 1 {
		t.Error("the middleware is not found")
	}
}

// Where the library's middlewares can't be found, events take the library's way.
func TestWithoutMiddlewareField(t *testing.T) {
	got := make(chan []any, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		s.Use(func(event []any, next func(error)) { event[1] = "changed"; next(nil) })
		_ = s.On("e", func(args ...any) { got <- args[:1]; ackOf(args)([]any{"ok"}, nil) })
	})
	s.handler.srv.middlewares = middlewareField{}
	c := s.connect(t, "")
	c.send(`421["e",1]`)
	if args := receive(t, got, "event"); args[0] != "changed" {
		t.Error(args)
	}
	c.expect(`431["ok"]`)
}

func TestBrokenPacketsClose(t *testing.T) {
	for name, packets := range map[string][]string{
		"unknown type":        {"49"},
		"no json":             {"42abc"},
		"no array":            {`42{}`},
		"reserved event":      {`42["disconnecting"]`},
		"ack without array":   {"431{}"},
		"connect twice":       {"40"},
		"foreign namespace":   {`42/other,["a"]`},
		"connect error":       {`44{"message":"x"}`},
		"too many attachment": {`4511-["a"]`},
		"text for attachment": {`451-["a",{"_placeholder":true,"num":0}]`, `42["b"]`},
	} {
		t.Run(name, func(t *testing.T) {
			reasons, events := make(chan any, 1), make(chan any, 1)
			s := serve(t, nil, Options{}, func(s *socket.Socket) {
				_ = s.On("before", func(...any) { events <- "before" })
				_ = s.On("disconnect", func(args ...any) { reasons <- args[0] })
			})
			c := s.connect(t, "")
			c.send(`42["before"]`)
			receive(t, events, "event before")
			c.send(packets...)
			c.expectClosed()
			want := "forced close"
			if name == "connect twice" || name == "foreign namespace" || name == "connect error" {
				want = "forced server close"
			}
			if got := receive(t, reasons, "disconnect"); got != want {
				t.Errorf("reason %v, want %s", got, want)
			}
		})
	}
}

func TestBinaryWithoutPacketCloses(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	c := s.connect(t, "")
	c.sendBinary([]byte{1})
	c.expectClosed()
}

// Events that came before the connection closed are handled before "disconnect".
func TestCloseDrains(t *testing.T) {
	const n = 200
	release := make(chan struct{})
	done := make(chan int32, 1)
	var handled atomic.Int32
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(...any) { <-release; handled.Add(1) })
		_ = s.On("disconnect", func(args ...any) {
			if args[0] != "transport close" {
				t.Errorf("reason %v", args)
			}
			done <- handled.Load()
		})
	})
	c := s.connect(t, "")
	for range n {
		c.send(`42["e"]`)
	}
	c.close()
	wait.Until(t, "session closed", func() bool {
		for _, x := range s.handler.srv.conns() {
			x.inbox.mu.Lock()
			closed := x.inbox.closed
			x.inbox.mu.Unlock()
			if closed {
				return true
			}
		}
		return false
	})
	close(release)
	if got := receive(t, done, "disconnect"); got != n {
		t.Errorf("%d events handled before disconnect, want %d", got, n)
	}
}

// A handler that waits for an answer that won't come does not hold up "disconnect" for long.
func TestCloseDoesNotWaitForAcks(t *testing.T) {
	disconnected := make(chan struct{})
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(...any) {
			s.EmitWithAck("question")(func([]any, error) {})
			<-disconnected
		})
		_ = s.On("disconnect", func(...any) { close(disconnected) })
	})
	c := s.connect(t, "")
	c.send(`42["e"]`)
	c.expectPrefix("42")
	c.close()
	receive(t, disconnected, "disconnect")
}

// A new CONNECT to a namespace waits until "disconnect" has been emitted.
func TestDisconnectThenConnect(t *testing.T) {
	var mu sync.Mutex
	var log []string
	note := func(s string) { mu.Lock(); log = append(log, s); mu.Unlock() }
	last := make(chan struct{}, 8)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		note("connection")
		_ = s.On("e", func(...any) { note("event") })
		_ = s.On("disconnect", func(args ...any) {
			time.Sleep(5 * time.Millisecond) // gives a CONNECT that does not wait its chance
			note("disconnect " + args[0].(string))
		})
		_ = s.On("last", func(...any) { last <- struct{}{} })
	})
	c := s.connect(t, "")
	c.send(`42["e"]`, "41", `42["lost"]`, "40", `42["e"]`, "41", "40", `42["last"]`)
	receive(t, last, "last event")
	want := "connection|event|disconnect client namespace disconnect|connection|event|disconnect client namespace disconnect|connection"
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(log, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The server's Disconnect sends what was emitted before it, drops what the client still sends, and leaves the other
// namespaces alone.
func TestServerDisconnect(t *testing.T) {
	reasons := make(chan any, 2)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("leave", func(args ...any) {
			_ = s.Emit("bye")
			s.Disconnect(args[0] == true)
		})
		_ = s.On("disconnect", func(args ...any) { reasons <- args[0] })
	})
	s.Of("/other", nil)
	c := s.connect(t, "")
	c.send("40/other,")
	c.expectPrefix("40/other,")
	c.send(`42["leave",false]`, `42["in flight"]`, "431[]")
	c.expect(`42["bye"]`)
	c.expect("41")
	if got := receive(t, reasons, "disconnect"); got != "server namespace disconnect" {
		t.Error(got)
	}
	c.send("40")
	c.expectPrefix("40")
	c.send(`42["leave",true]`)
	c.expect(`42["bye"]`)
	both := c.read() + c.read()
	if both != "4141/other," && both != "41/other,41" {
		t.Errorf("got %q", both)
	}
	c.expectClosed()
}

// connectSpy is before all that happens when the library says that it has connected a socket.
type connectSpy struct {
	events.EventEmitter
	connected func()
}

func (e connectSpy) Emit(event events.EventName, args ...any) {
	if event == "connect" {
		e.connected()
	}
	e.EventEmitter.Emit(event, args...)
}

// A client learns that it is connected when the server's side of it is complete. Else Disconnect(true) in answer to
// what it sends then, in another namespace, leaves the new socket out.
func TestConnectIsAnsweredLast(t *testing.T) {
	var created atomic.Int32
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.Conn().On("packetCreate", func(...any) { created.Add(1) })
	})
	e := s.Of("/other", nil).EventEmitter()
	e.EventEmitter = connectSpy{e.EventEmitter, func() {
		if created.Load() != 0 {
			t.Error("the answer is sent before the library knows the socket")
		}
	}}
	c := s.connect(t, "")
	c.send("40/other,")
	c.expectPrefix(`40/other,{"sid":"`)
}

func TestNamespaceRefused(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := serve(t, nil, Options{MaxNamespaces: 3}, nil)
	s.Of("/secret", nil).Use(func(_ *socket.Socket, next func(*socket.ExtendedError)) {
		next(socket.NewExtendedError("no", map[string]any{"code": 1}))
	})
	s.Of("/plain", nil).Use(func(_ *socket.Socket, next func(*socket.ExtendedError)) {
		next(socket.NewExtendedError("no", nil))
		<-release // the client has its answer, and must not be counted as connected
	})
	for _, name := range []string{"/1", "/2", "/3"} {
		s.Of(name, nil)
	}
	c := s.connect(t, "")
	for range 3 { // a refused CONNECT may be tried again
		c.send("40/secret,")
		c.expect(`44/secret,{"data":{"code":1},"message":"no"}`)
	}
	c.send("40/plain,")
	c.expect(`44/plain,{"message":"no"}`)
	c.send("40/unknown,")
	c.expect(`44/unknown,{"message":"Invalid namespace"}`)
	c.send("40/1,")
	c.expectPrefix("40/1,")
	c.send("40/2,")
	c.expectPrefix("40/2,")
	c.send("40/3,")
	c.expect(`44/3,{"message":"too many namespaces"}`)
	c.send("41/2,")
	onClosed := func() bool { n := s.Of("/2", nil).Sockets().Len(); return n == 0 }
	wait.Until(t, "left /2", onClosed)
	c.send("40/3,")
	if got := c.read(); strings.HasPrefix(got, "44") { // "disconnect" of /2 may just be running
		c.send("40/3,")
		c.expectPrefix("40/3,")
	}
}

// A client may connect again before it has the answer, as that of socket.io-client does on a second connect(): the
// first that is let in counts.
func TestConnectWhileConnecting(t *testing.T) {
	tries, release := 0, make(chan struct{})
	s := serve(t, nil, Options{}, nil)
	s.Use(func(_ *socket.Socket, next func(*socket.ExtendedError)) {
		if tries++; tries == 1 {
			next(socket.NewExtendedError("no", nil))
			return
		}
		<-release
		next(nil)
	})
	_ = s.On("connection", func(args ...any) {
		_ = args[0].(*socket.Socket).On("e", func(args ...any) { ackOf(args)(nil, nil) })
	})
	c := s.dial(t, "EIO=4")
	c.send("40", "40", "40", `421["e"]`)
	c.expect(`44{"message":"no"}`)
	wait.Until(t, "the third and the event wait", func() bool {
		i := &s.handler.srv.conns()[0].inbox
		i.mu.Lock()
		defer i.mu.Unlock()
		head := i.boxes.events.head
		return head != nil && head.next != nil && head.next.kind == parser.EVENT
	})
	close(release)
	c.expectPrefix("40{")
	c.expect("431[]")
	c.send("40")
	c.expectClosed()
}

// A client that says that it leaves, and then closes, has left: that is the reason, whichever is noticed first.
func TestDisconnectThenClose(t *testing.T) {
	reasons := make(chan any, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("disconnect", func(args ...any) { reasons <- args[0] })
		_ = s.Emit("listening")
	})
	for range 50 {
		c := s.connect(t, "")
		c.expect(`42["listening"]`)
		c.send("41", "1")
		if r := receive(t, reasons, "disconnect"); r != "client namespace disconnect" {
			t.Fatalf("reason %v", r)
		}
		c.close()
	}
}

func TestDynamicNamespace(t *testing.T) {
	got := make(chan string, 2)
	opts := socket.DefaultServerOptions()
	opts.SetCleanupEmptyChildNamespaces(true)
	s := serve(t, opts, Options{}, nil)
	match := func(name string, _ any, next func(error, bool)) { next(nil, strings.HasPrefix(name, "/room-")) }
	onConnection(s.Of(socket.ParentNspNameMatchFn(&match), nil), func(s *socket.Socket) {
		_ = s.On("e", func(...any) { got <- s.Nsp().Name() })
	})
	c := s.connect(t, "")
	c.send("40/room-1,", `42/room-1,["e"]`, "40/room-2,", `42/room-2,["e"]`)
	a, b := receive(t, got, "event"), receive(t, got, "event")
	if a+b != "/room-1/room-2" && b+a != "/room-1/room-2" {
		t.Error(a, b)
	}
}

// A reader does not read on while too much is queued, and loses nothing.
func TestBackpressure(t *testing.T) {
	const n = 400
	release := make(chan struct{})
	var handled atomic.Int32
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(...any) { <-release; handled.Add(1) })
	})
	c := s.connect(t, "")
	body := `42["e","` + strings.Repeat("x", 10_000) + `"]`
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range n {
			c.send(body)
		}
	}()
	conn := s.handler.srv.conns()[0]
	queued := func() int {
		conn.inbox.mu.Lock()
		defer conn.inbox.mu.Unlock()
		return conn.inbox.queued
	}
	wait.Until(t, "soft limit reached", func() bool { return queued() > maxInbound })
	if q := queued(); q > maxInbound+len(body)+packetOverhead {
		t.Errorf("%d bytes are queued", q)
	}
	close(release)
	<-sent
	wait.Until(t, "all handled", func() bool { return handled.Load() == n })
}

// A client that floods the server instead of answering is cut.
func TestFlood(t *testing.T) {
	release := make(chan struct{})
	reasons := make(chan any, 1)
	s := serve(t, nil, Options{MaxInboundBytes: 1 << 20}, func(s *socket.Socket) {
		_ = s.On("e", func(...any) { <-release })
		s.EmitWithAck("q")(func([]any, error) {})
		_ = s.On("disconnect", func(args ...any) { reasons <- args[0]; close(release) })
	})
	c := s.connect(t, "")
	c.expectPrefix("42")
	for range 200 {
		c.send(`42["e","` + strings.Repeat("x", 10_000) + `"]`)
	}
	if got := receive(t, reasons, "disconnect"); got != "transport error" {
		t.Errorf("reason %v", got)
	}
}

func TestConnectTimeout(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetConnectTimeout(20 * time.Millisecond)
	s := serve(t, opts, Options{}, nil)
	s.dial(t, "EIO=4").expectClosed()
}

// A parser of the user's own is served in order too.
func TestForeignParser(t *testing.T) {
	const n = 500
	got := make(chan any, n)
	opts := socket.DefaultServerOptions()
	opts.SetParser(parser.NewParser())
	s := serve(t, opts, Options{}, func(s *socket.Socket) {
		s.Join("r")
		_ = s.On("e", func(args ...any) { ackOf(args)([]any{args[0]}, nil); got <- args[0] })
	})
	c := s.connect(t, "")
	for i := range n {
		c.send(fmt.Sprintf(`42%d["e",%d]`, i, i))
		c.expect(fmt.Sprintf(`43%d[%d]`, i, i))
		if v := receive(t, got, "event"); v != float64(i) {
			t.Fatalf("got %v, want %d", v, i)
		}
	}
	c.send(`451-1["e",{"_placeholder":true,"num":0}]`)
	c.sendBinary([]byte{5})
	if _, ok := receive(t, got, "event").(types.BufferInterface); !ok {
		t.Error("no attachment")
	}
	c.expect(`461-1[{"_placeholder":true,"num":0}]`)
	c.expect("\x05")
	_ = s.To("r").Emit("x", 1)
	c.expect(`42["x",1]`)
	s.Sockets().Adapter().(*Adapter).BroadcastMessage(NewEventMessage("/", []byte(`["y",2]`), nil), nil)
	c.expect(`42["y",2]`)
	c.send("42nonsense")
	c.expectClosed()
}

func TestRevision3(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetAllowEIO3(true)
	auth := make(chan any, 2)
	s := serve(t, opts, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { ackOf(args)(args[:1], nil); _ = s.Emit("b", []byte{1}) })
	})
	onConnection(s.Of("/n", nil), func(s *socket.Socket) { auth <- s.Handshake().Auth })
	onConnection(s.Sockets(), func(s *socket.Socket) { auth <- s.Handshake().Auth })
	c := s.dial(t, "EIO=3")
	c.expect("40")
	if a := toJSON(t, receive(t, auth, "connection")); a != "{}" {
		t.Errorf("auth %s", a)
	}
	c.send(`421["e",1]`)
	c.expect(`431[1]`)
	c.expect(`451-["b",{"_placeholder":true,"num":0}]`)
	c.expect("\x04\x01")
	c.send("40/n?token=x&a=1&a=2,")
	c.expect("40/n,")
	if a := toJSON(t, receive(t, auth, "connection")); a != `{"a":["1","2"],"token":"x"}` {
		t.Errorf("auth %s", a)
	}
	c.send("2probe")
	c.expect("3probe")
}

// Clients that leave while they connect leave nothing behind, and whoever sees "connection" sees "disconnect".
func TestCloseWhileConnecting(t *testing.T) {
	var connected, disconnected atomic.Int32
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		connected.Add(1)
		time.Sleep(time.Millisecond) // the listener comes late
		_ = s.On("disconnect", func(...any) { disconnected.Add(1) })
	})
	s.Use(func(_ *socket.Socket, next func(*socket.ExtendedError)) {
		go func() { time.Sleep(time.Millisecond); next(nil) }()
	})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			c := s.dial(t, "EIO=4")
			c.send("40")
			time.Sleep(time.Duration(i%6) * 500 * time.Microsecond)
			c.close()
		})
	}
	wg.Wait()
	defer func() {
		t.Logf("%d sessions, %d sockets, %d connected, %d disconnected", s.Engine().ClientsCount(),
			s.Sockets().Sockets().Len(), connected.Load(), disconnected.Load())
	}()
	wait.Until(t, "all gone", func() bool {
		return s.Engine().ClientsCount() == 0 && s.Sockets().Sockets().Len() == 0 &&
			connected.Load() == disconnected.Load()
	})
	if n := len(s.Sockets().Adapter().(*Adapter).RoomNames(true)); n != 0 {
		t.Errorf("%d rooms are left", n)
	}
}
