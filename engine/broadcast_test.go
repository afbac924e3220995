package engine

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

func (s *testServer) joined(t testing.TB) *wire {
	t.Helper()
	c := s.connect(t, "")
	c.expect(`42["joined"]`)
	return c
}

func TestBroadcast(t *testing.T) {
	for name, adapter := range map[string]socket.AdapterConstructor{"ours": nil, "stock": &socket.AdapterBuilder{}} {
		t.Run(name, func(t *testing.T) {
			opts := socket.DefaultServerOptions()
			if adapter != nil {
				opts.SetAdapter(adapter)
			}
			testBroadcast(t, serve(t, opts, Options{}, broadcastHandlers))
		})
	}
}

// broadcastHandlers joins rooms as the client asks.
func broadcastHandlers(s *socket.Socket) {
	_ = s.On("join", func(args ...any) {
		for _, r := range args[:len(args)-1] {
			s.Join(socket.Room(r.(string)))
		}
		ackOf(args)([]any{string(s.Id())}, nil)
	})
	_ = s.On("others", func(...any) { _ = s.Broadcast().Emit("o") })
	_ = s.On("answer", func(args ...any) { ackOf(args)(args[:1], nil) })
}

func (w *wire) join(rooms string) (id socket.SocketId) {
	w.t.Helper()
	w.send(`421["join",` + rooms + `]`)
	got := w.expectPrefix(`431["`)
	return socket.SocketId(strings.TrimSuffix(strings.TrimPrefix(got, `431["`), `"]`))
}

func testBroadcast(t *testing.T, s *testServer) {
	a, b, c := s.connect(t, ""), s.connect(t, ""), s.connect(t, "")
	idA := a.join(`"r","s"`)
	b.join(`"r"`)
	c.join(`"s"`)
	s.Emit("all", 1)
	for _, w := range []*wire{a, b, c} {
		w.expect(`42["all",1]`)
	}
	_ = s.To("r").Emit("r")
	_ = s.To("r", "s").Except("s").Emit("r without s")
	_ = s.To(socket.Room(idA)).Emit("private")
	_ = s.To("r", "s").Emit("both", []byte{1, 2})
	a.expect(`42["r"]`)
	b.expect(`42["r"]`)
	b.expect(`42["r without s"]`)
	a.expect(`42["private"]`)
	for _, w := range []*wire{a, b, c} {
		w.expect(`451-["both",{"_placeholder":true,"num":0}]`)
		w.expect("\x01\x02")
	}
	a.send(`42["others"]`)
	b.expect(`42["o"]`)
	c.expect(`42["o"]`)

	answers := make(chan []any, 1)
	s.To("r").Timeout(testTimeout).EmitWithAck("q")(func(args []any, err error) {
		if err != nil {
			t.Error(err)
		}
		answers <- args
	})
	for i, w := range []*wire{a, b} {
		q := w.expectPrefix("42")
		w.send("43" + strings.TrimSuffix(q[2:], `["q"]`) + fmt.Sprintf(`[%d]`, i))
	}
	if got := receive(t, answers, "answers"); len(got) != 2 {
		t.Errorf("answers %v", got)
	}

	s.FetchSockets()(func(all []*socket.RemoteSocket, err error) {
		if len(all) != 3 || err != nil {
			t.Errorf("%d sockets, %v", len(all), err)
		}
	})
	s.In("s").SocketsJoin("t")
	s.In("t").Except("r").SocketsLeave("t")
	s.In("t").FetchSockets()(func(all []*socket.RemoteSocket, _ error) {
		if len(all) != 1 || all[0].Id() != idA {
			t.Errorf("in t: %v", all)
		}
	})
	adapter := s.Sockets().Adapter()
	if r := adapter.SocketRooms(idA); r == nil || r.Len() != 4 || !r.Has("t") {
		t.Errorf("rooms of a: %v", r)
	}
	if ids, ok := adapter.Rooms().Load("r"); !ok || ids.Len() != 2 || adapter.Sids().Len() != 3 {
		t.Error("Rooms or Sids")
	}
	if got := adapter.Sockets(types.NewSet[socket.Room]("s")); got.Len() != 2 {
		t.Errorf("sockets in s: %v", got.Keys())
	}
	s.In("s").DisconnectSockets(true)
	a.expectClosed()
	c.expectClosed()
	b.send(`422["answer","still here"]`)
	b.expect(`432["still here"]`)
}

// Our adapter under the library's own engine.
func TestAdapterOnStockServer(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetAdapter(AdapterBuilder{})
	io := socket.NewServer(nil, opts)
	h := io.ServeHandler(nil)
	front := httptest.NewServer(h)
	defer front.Close()
	defer io.Close(nil)
	joined := make(chan struct{}, 2)
	onConnection(io.Sockets(), func(s *socket.Socket) {
		s.Join("r")
		if ConnOf(s) != nil {
			t.Error("a foreign socket has a Conn")
		}
		joined <- struct{}{}
	})
	s := &testServer{Server: io, http: front}
	// That engine loses a CONNECT that comes right after its open packet, so try until it does not.
	connect := func() *wire {
		for {
			w := s.dial(t, "EIO=4")
			w.patience = 200 * time.Millisecond
			w.send("40")
			if _, _, err := w.next(); err == nil {
				w.patience = testTimeout
				receive(t, joined, "join")
				return w
			}
			w.close()
		}
	}
	a, b := connect(), connect()
	// That engine loses a message now and then, so send until it arrives.
	until := func(want string, send func()) {
		for _, w := range []*wire{a, b} {
			arrived := make(chan struct{})
			go func() {
				defer close(arrived)
				for w.read() != want {
				}
			}()
			for done := false; !done; {
				send()
				select {
				case <-arrived:
					done = true
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	}
	until(`42["x",1]`, func() { _ = io.To("r").Emit("x", 1) })
	until(`42["y"]`, func() {
		io.Sockets().Adapter().(*Adapter).BroadcastMessage(NewEventMessage("/", []byte(`["y"]`), nil), nil)
	})
	a.send("41") // the library's clients hold a timer goroutine each that their close ends
	b.send("41")
	a.close()
	b.close()
}

func TestDeliver(t *testing.T) {
	conns := make(chan *Conn, 2)
	var told atomic.Int32
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		s.OnAnyOutgoing(func(args ...any) {
			if args[0] == "m" {
				told.Add(1)
			}
		})
		conns <- ConnOf(s)
	})
	a, b := s.connect(t, ""), s.connect(t, "")
	list := []*Conn{receive(t, conns, "conn"), nil, receive(t, conns, "conn")}
	m := NewEventMessage("/", []byte(`["m"]`), nil)
	list[2].DeliverAll([]*Message{m, NewEventMessage("/", []byte(`["n"]`), [][]byte{[]byte("bytes")}), m})
	b.expect(`42["m"]`)
	b.expect(`451-["n"]`)
	b.expect("bytes")
	b.expect(`42["m"]`)
	Deliver(m, list, DeliverOptions{})
	Deliver(m.Uncompressed(), list, DeliverOptions{Volatile: true})
	s.Sockets().Adapter().(*Adapter).BroadcastMessage(m, nil)
	for _, w := range []*wire{a, b} {
		w.expect(`42["m"]`)
		if got := w.read(); got != `42["m"]` {
			t.Errorf("got %q", got)
		}
	}
	if told.Load() != 2 {
		t.Errorf("outgoing listeners were told %d times", told.Load())
	}
	a.close()
	wait.Until(t, "closed", func() bool { return s.Engine().ClientsCount() == 1 })
	Deliver(m, list, DeliverOptions{})
	for _, c := range list {
		if c != nil {
			c.DeliverAll([]*Message{m})
		}
	}
}

// TestConnectBeforeBroadcasts: the first that a client gets is the answer to its CONNECT, whatever is broadcast
// meanwhile.
func TestConnectBeforeBroadcasts(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	var broadcasts sync.WaitGroup
	var stop atomic.Bool
	defer broadcasts.Wait()
	defer stop.Store(true)
	for range 2 {
		broadcasts.Go(func() {
			for !stop.Load() {
				s.Emit("news")
			}
		})
	}
	for range 200 {
		w := s.connect(t, "")
		w.expect(`42["news"]`)
		_ = w.conn.Close()
	}
}

func TestRoomEvents(t *testing.T) {
	var mu sync.Mutex
	var log []string
	s := serve(t, nil, Options{}, func(s *socket.Socket) { s.Join("r"); s.Leave("r") })
	a := s.Sockets().Adapter()
	for _, name := range []string{"create-room", "join-room", "leave-room", "delete-room"} {
		_ = a.On(types.EventName(name), func(args ...any) {
			mu.Lock()
			defer mu.Unlock()
			room := args[0].(socket.Room)
			if room != "r" {
				room = "own"
			}
			log = append(log, name+" "+string(room))
			if name == "create-room" && len(args) != 1 || name == "join-room" && len(args) != 2 {
				t.Errorf("%s %v", name, args)
			}
		})
	}
	c := s.connect(t, "")
	logged := func(n int) func() bool { return func() bool { mu.Lock(); defer mu.Unlock(); return len(log) == n } }
	wait.Until(t, "joined and left r", logged(6))
	c.close()
	wait.Until(t, "left", logged(8))
	want := "create-room own|join-room own|create-room r|join-room r|leave-room r|delete-room r|leave-room own|delete-room own"
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(log, "|"); got != want {
		t.Errorf("got %s", got)
	}
}

// Sockets join and leave while broadcasts run: who is in the room all the time gets all, in order.
func TestJoinsDuringBroadcasts(t *testing.T) {
	const n, movers = 1000, 4
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		s.Join("r")
		_ = s.Emit("joined")
	})
	stay := s.joined(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var sockets []*socket.Socket
	for range movers {
		w := s.joined(t)
		wg.Go(func() { // drains
			for {
				if _, _, err := w.next(); err != nil {
					return
				}
			}
		})
	}
	s.Sockets().Sockets().Range(func(_ socket.SocketId, x *socket.Socket) bool {
		sockets = append(sockets, x)
		return true
	})
	var moves sync.WaitGroup
	for i := range movers {
		moves.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				room := socket.Room(fmt.Sprint("x", rand.IntN(5)))
				sockets[i].Join(room)
				_ = s.To(room).Emit("moved")
				sockets[i].Leave(room)
				runtime.Gosched()
			}
		})
	}
	go func() {
		for i := range n {
			_ = s.To("r").Emit("e", i)
		}
	}()
	for next := 0; next < n; {
		if got := stay.read(); strings.HasPrefix(got, `42["e",`) {
			if got != fmt.Sprintf(`42["e",%d]`, next) {
				t.Fatalf("got %s, want %d", got, next)
			}
			next++
		}
	}
	close(stop)
	moves.Wait()
	s.stop()
	wg.Wait()
}

// A client that does not read is cut; the others get all.
func TestStalledClient(t *testing.T) {
	const n = 4000
	reasons := make(chan string, 2)
	s := serve(t, nil, Options{MaxQueueBytes: 2 << 20}, func(s *socket.Socket) {
		_ = s.On("disconnect", func(args ...any) { reasons <- fmt.Sprint(args...) })
	})
	stalled, healthy := s.connect(t, ""), s.connect(t, "")
	_ = stalled.conn.(interface{ SetReadBuffer(int) error }).SetReadBuffer(4096)
	body := strings.Repeat("x", 4000)
	go func() {
		for i := range n {
			s.Emit("e", i, body)
		}
	}()
	for i := range n {
		if want := fmt.Sprintf(`42["e",%d,`, i); !strings.HasPrefix(healthy.read(), want) {
			t.Fatalf("want %s", want)
		}
	}
	if got := receive(t, reasons, "disconnect"); !strings.HasPrefix(got, "transport error") {
		t.Errorf("reason %s", got)
	}
}

// Each client stands for one value, whatever it answers.
func TestBroadcastAcks(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	clients := []*wire{s.connect(t, ""), s.connect(t, ""), s.connect(t, "")}
	type result struct {
		answers []any
		err     error
	}
	done := make(chan result, 1)
	s.Timeout(testTimeout).EmitWithAck("q")(func(answers []any, err error) { done <- result{answers, err} })
	for i, answer := range []string{`[1,"more"]`, `[]`, `[3]`} {
		id := strings.TrimSuffix(clients[i].expectPrefix("42"), `["q"]`)[2:]
		clients[i].send("43" + id + answer)
	}
	r := receive(t, done, "answers")
	got := make([]string, 0, 3)
	for _, a := range r.answers {
		got = append(got, toJSON(t, a))
	}
	slices.Sort(got)
	if want := []string{"1", "3", "null"}; r.err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, r.err, want)
	}
}

func TestVolatile(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	c := s.connect(t, "")
	_ = s.Volatile().Emit("v")
	c.expect(`42["v"]`)
	// A polling client that has no poll open can't take it.
	p := s.openPolling(t)
	p.post(t, "40")
	if got := p.poll(t); !strings.HasPrefix(got, `40{"sid"`) {
		t.Fatal(got)
	}
	_ = s.Volatile().Emit("v2")
	c.expect(`42["v2"]`)
	s.Emit("w")
	if got := p.poll(t); got != `42["w"]` {
		t.Errorf("got %q", got)
	}
}

// polling is a long-polling client, revision 4.
type polling struct {
	url    string
	client *http.Client
}

func (s *testServer) openPolling(t testing.TB) *polling {
	t.Helper()
	return openPolling(t, s.http.URL+"/socket.io/?EIO=4&transport=polling", http.DefaultClient)
}

func openPolling(t testing.TB, url string, client *http.Client) *polling {
	t.Helper()
	p := &polling{url, client}
	open := p.poll(t)
	_, rest, ok := strings.Cut(open, `"sid":"`)
	if !ok {
		t.Fatalf("open packet %q", open)
	}
	sid, _, _ := strings.Cut(rest, `"`)
	p.url += "&sid=" + sid
	return p
}

func (p *polling) poll(t testing.TB) string {
	t.Helper()
	status, body := fetch(t, p.client, p.url)
	if status != http.StatusOK {
		t.Fatalf("poll: status %d %s", status, body)
	}
	return body
}

func (p *polling) post(t testing.TB, body string) {
	t.Helper()
	res, err := p.client.Post(p.url, "text/plain;charset=UTF-8", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("post: status %s", res.Status)
	}
}

// A sender is not held up for long by a client that has stopped reading.
func TestPaceDoesNotBlockForLong(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	s.connect(t, "") // never reads on
	start := time.Now()
	body := strings.Repeat("x", 1<<20)
	for range 6 {
		s.Emit("e", body)
	}
	if d := time.Since(start); d > 6*paceLimit+testTimeout {
		t.Errorf("took %v", d)
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, clients := range []int{1, 100} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			s := serve(b, nil, Options{}, nil)
			for range clients {
				c := s.connect(b, "")
				go func() {
					for {
						if _, _, err := c.next(); err != nil {
							return
						}
					}
				}()
			}
			args := []any{"hello", map[string]any{"a": 1, "b": "two"}}
			b.ReportAllocs()
			for b.Loop() {
				s.Emit("e", args...)
			}
		})
	}
}

// A join that is on its way while its socket leaves does not bring it back.
func TestJoinAfterDisconnect(t *testing.T) {
	sockets := make(chan *socket.Socket, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) { sockets <- s })
	c := s.connect(t, "")
	x := receive(t, sockets, "connection")
	c.close()
	a := s.Sockets().Adapter()
	wait.Until(t, "left", func() bool { return a.Sids().Len() == 0 })
	a.AddAll(x.Id(), types.NewSet[socket.Room]("r"))
	if a.(*Adapter).HasMembers("r") || a.SocketRooms(x.Id()) != nil {
		t.Error("it is back")
	}
}
