package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// recoverable serves with connection state recovery.
func serveRecoverable(t *testing.T, on func(*socket.Socket)) *testServer {
	opts := socket.DefaultServerOptions()
	opts.SetConnectionStateRecovery(&socket.ConnectionStateRecovery{})
	return serve(t, opts, Options{}, on)
}

// session is what a client knows of its session.
type clientSession struct{ Sid, Pid, offset string }

// begin connects, resuming from where old got to, if it is not nil.
func (s *testServer) begin(t *testing.T, old *clientSession) (*wire, *clientSession, []string) {
	t.Helper()
	w := s.dial(t, "EIO=4")
	auth := ""
	if old != nil {
		auth = fmt.Sprintf(`{"pid":%q,"offset":%q}`, old.Pid, old.offset)
	}
	w.send("40" + auth)
	var missed []string
	for {
		got := w.read()
		if !strings.HasPrefix(got, "40") { // what was missed comes before the CONNECT
			missed = append(missed, got)
			continue
		}
		var next clientSession
		if err := json.Unmarshal([]byte(got[2:]), &next); err != nil || next.Pid == "" {
			t.Fatalf("CONNECT %s: %v", got, err)
		}
		return w, &next, missed
	}
}

// event reads an event, notes its offset, and returns it without.
func (c *clientSession) event(t *testing.T, text string) string {
	t.Helper()
	var args []any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "42")), &args); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	c.offset = args[len(args)-1].(string)
	return toJSON(t, args[:len(args)-1])
}

func TestRecovery(t *testing.T) {
	type seen struct {
		recovered bool
		data      any
		rooms     bool
	}
	conns, gone := make(chan seen, 4), make(chan struct{}, 4)
	s := serveRecoverable(t, func(s *socket.Socket) {
		conns <- seen{s.Recovered(), s.Data(), s.Rooms().Has("r")}
		if !s.Recovered() {
			s.SetData("mine")
			s.Join("r")
		}
		_ = s.On("disconnect", func(...any) { gone <- struct{}{} })
		_ = s.Emit("hello")
	})
	w, session, _ := s.begin(t, nil)
	receive(t, conns, "connection")
	if got := session.event(t, w.read()); got != `["hello"]` {
		t.Fatal(got)
	}
	_ = s.To("r").Emit("a", 1)
	if got := session.event(t, w.read()); got != `["a",1]` {
		t.Fatal(got)
	}
	w.close()
	receive(t, gone, "disconnect")

	_ = s.To("r").Emit("b", 2)
	_ = s.To("other").Emit("not for us")
	_ = s.Except("r").Emit("not for us")
	_ = s.To("r").Volatile().Emit("not kept")
	s.Emit("c", []byte{7})
	_ = s.To(socket.Room(session.Sid)).Emit("d")

	w, next, missed := s.begin(t, session)
	if next.Sid != session.Sid || next.Pid != session.Pid {
		t.Errorf("session %+v became %+v", session, next)
	}
	if got := receive(t, conns, "connection"); got != (seen{true, "mine", true}) {
		t.Errorf("%+v", got)
	}
	if len(missed) != 4 || session.event(t, missed[0]) != `["b",2]` ||
		!strings.HasPrefix(missed[1], `451-["c",{"_placeholder":true,"num":0},"`) ||
		missed[2] != "\x07" || session.event(t, missed[3]) != `["d"]` {
		t.Errorf("missed %q", missed)
	}
	if got := session.event(t, w.read()); got != `["hello"]` {
		t.Error(got)
	}

	// An unknown offset, an unknown session and a client that left on purpose are not recovered.
	w.send("41")
	receive(t, gone, "disconnect")
	for _, c := range []*clientSession{session, {Pid: session.Pid, offset: "x"}, {Pid: "x", offset: session.offset}} {
		w, next, missed := s.begin(t, c)
		if next.Sid == session.Sid || len(missed) > 0 {
			t.Errorf("%+v is recovered", c)
		}
		if got := receive(t, conns, "connection"); got.recovered {
			t.Error("recovered")
		}
		w.close()
		receive(t, gone, "disconnect")
	}
}

// Nothing is lost, doubled or reordered while a client comes and goes during broadcasts.
func TestRecoveryDuringBroadcasts(t *testing.T) {
	const n = 3000
	gone := make(chan struct{}, 100)
	s := serveRecoverable(t, func(s *socket.Socket) {
		_ = s.On("disconnect", func(...any) { gone <- struct{}{} })
		if !s.Recovered() {
			s.Join("r")
			_ = s.Emit("start")
		}
	})
	w, session, _ := s.begin(t, nil)
	session.event(t, w.read())
	var senders sync.WaitGroup
	senders.Go(func() {
		for i := range n {
			_ = s.To("r").Emit("e", i)
			if i%100 == 0 {
				time.Sleep(time.Millisecond) // spreads them over the reconnections
			}
		}
	})
	next := 0
	take := func(text string) {
		t.Helper()
		if got, want := session.event(t, text), fmt.Sprintf(`["e",%d]`, next); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		next++
	}
	for next < n {
		for range 150 {
			if next < n {
				take(w.read())
			}
		}
		if next == n {
			break
		}
		w.close()
		receive(t, gone, "disconnect")
		var again *clientSession
		var missed []string
		w, again, missed = s.begin(t, session)
		if again.Sid != session.Sid {
			t.Fatal("not recovered")
		}
		for _, m := range missed {
			take(m)
		}
	}
	senders.Wait()
}

func TestRecoveryBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecovery(time.Minute)
		m := NewEventMessage("/", []byte(`["a"]`), nil)
		log := func() string {
			r.mu.Lock()
			defer r.mu.Unlock()
			offset := r.nextOffsetLocked()
			r.logLocked(loggedPacket{message: m, at: time.Now()})
			return offset
		}
		persist := func(pid socket.PrivateSessionId) {
			r.persist(&socket.SessionToPersist{
				Sid: socket.SocketId("s" + pid), Pid: pid, Rooms: types.NewSet[socket.Room]("x"),
			})
		}
		first := log()
		persist("p")
		log()
		session := r.restore("p", first)
		if session == nil || len(session.MissedPackets) != 1 {
			t.Fatalf("%+v", session)
		}
		if r.restore("p", first) != nil {
			t.Error("a session is restored twice")
		}
		r.abandon("sp") // the client did not connect after all
		if r.restore("p", first) == nil {
			t.Error("an abandoned session is lost")
		}
		r.abandon("sp")
		time.Sleep(2 * time.Minute)
		if r.restore("p", first) != nil {
			t.Error("an expired session is restored")
		}
		last := log()
		if len(r.packets) != 1 {
			t.Errorf("%d packets are kept", len(r.packets))
		}
		persist("q")
		if r.restore("q", first) != nil {
			t.Error("a session is restored from an offset that is gone")
		}
		if r.restore("q", last) == nil {
			t.Error("a session is not restored")
		}
		for range maxRecoveryPackets + 10 {
			log()
		}
		if len(r.packets) != maxRecoveryPackets {
			t.Errorf("%d packets are kept", len(r.packets))
		}
		for i := range maxRecoverySessions + 10 {
			persist(socket.PrivateSessionId(fmt.Sprint(i)))
		}
		if len(r.sessions) > maxRecoverySessions {
			t.Errorf("%d sessions are kept", len(r.sessions))
		}
	})
}

func TestRecoverable(t *testing.T) {
	event := &parser.Packet{Type: parser.EVENT, Data: []any{"a"}}
	volatile := &socket.BroadcastOptions{
		Flags: &socket.BroadcastFlags{WriteOptions: socket.WriteOptions{Volatile: true}},
	}
	if !recoverable(event, nil) || recoverable(event, volatile) ||
		recoverable(&parser.Packet{Type: parser.EVENT, Data: []any{"a"}, Id: id(1)}, nil) {
		t.Error("recoverable")
	}
}

// FuzzOffset has a client come back with any offset: it is restored with all that came after a packet that it names,
// and not at all where it names none.
func FuzzOffset(f *testing.F) {
	for _, tail := range []string{
		"10", "z", "Z", "00z", "", "+z", "-1", "zzzzzzzzzzzzzzzz", "1_0", "3w5e11264sgsf", "10 ",
	} {
		f.Add(tail, uint64(35), true)
	}
	f.Add("other.10", uint64(35), false)
	f.Add("3w5e11264sgsf", uint64(1<<64-2), true) // the last number of all
	f.Fuzz(func(t *testing.T, offset string, first uint64, ours bool) {
		const packets = 3
		r := newRecovery(time.Hour)
		r.first = min(first, 1<<64-1-packets)
		number := offset // in the form in which it was given to clients
		if ours {
			if n, err := strconv.ParseUint(offset, 36, 64); err == nil {
				number = strconv.FormatUint(n, 36)
			}
			offset, number = r.epoch+offset, r.epoch+number
		}
		names := -1 // the packet that offset names
		for i := range packets {
			o := r.nextOffsetLocked()
			if number == o {
				names = i
			}
			m, err := NewMessage("/", &parser.Packet{Type: parser.EVENT, Data: []any{"e", i, o}})
			if err != nil {
				t.Fatal(err)
			}
			r.logLocked(loggedPacket{message: m, at: time.Now()})
		}
		saved := &socket.SessionToPersist{Sid: "s", Pid: "p", Rooms: types.NewSet[socket.Room]("s")}
		r.persist(saved)
		session := r.restore("p", offset)
		if (session != nil) != (names >= 0) || session != nil && len(session.MissedPackets) != packets-1-names {
			t.Fatalf("%q names packet %d from %d on; restored %+v", offset, names, r.first, session)
		}
		if session != nil && r.restore("p", offset) != nil {
			t.Fatal("restored twice")
		}
		if session == nil && r.sessions["p"] == nil {
			t.Fatal("the session is gone because of an offset")
		}
	})
}
