//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/architus/guildcast/internal/test/wait"
)

// member is a client of one server of a cluster.
type member struct {
	*client
	sid string
}

// args waits for event and returns its arguments.
func (m member) args(t *testing.T, event string) string {
	t.Helper()
	return compact(t, m.event(t, event, nil).Args)
}

// adapterConformance goes through what the documentation and the tests of @socket.io/redis-adapter promise, from each
// server of a cluster to the others. The servers must know the namespace /chat.
func adapterConformance(t *testing.T, b *browsers, peers []peer) {
	t.Helper()
	allCounted(t, peers)
	var members []member
	for i, p := range peers {
		c, sid := b.connect(t, p.url(), nil)
		members = append(members, member{c, sid})
		p.call(t, "own", call{"id": sid, "targets": []string{"all", fmt.Sprint("r", i), "42"}, "data": call{"i": i}})
	}
	for i, p := range peers {
		t.Run(fmt.Sprintf("from server %d", i), func(t *testing.T) {
			t.Run("broadcast", func(t *testing.T) { conformBroadcast(t, p, peers, members) })
			t.Run("namespace", func(t *testing.T) { conformNamespace(t, b, p, peers) })
			t.Run("burst", func(t *testing.T) { conformBurst(t, p, members) })
			t.Run("acknowledgement", func(t *testing.T) { conformAcks(t, p, members) })
			t.Run("fetch", func(t *testing.T) { conformFetch(t, p, members) })
			t.Run("rooms", func(t *testing.T) { conformRooms(t, p, members) })
			t.Run("server side emit", func(t *testing.T) { conformServerSide(t, p, peers) })
		})
	}
	for i, p := range peers {
		t.Run(fmt.Sprintf("disconnect by server %d", i), func(t *testing.T) {
			m := members[(i+1)%len(peers)]
			p.call(t, "disconnect", call{"rooms": []string{m.sid}, "close": true})
			m.wait(t, "disconnect", func(h heard) bool { return h.Type == "disconnect" })
		})
	}
}

// allCounted returns once each server knows of all.
func allCounted(t *testing.T, peers []peer) {
	t.Helper()
	wait.Until(t, "all servers to be counted", func() bool {
		return !slices.ContainsFunc(peers, func(p peer) bool {
			return result[int](t, p, "serverCount", nil) != len(peers)
		})
	})
}

func conformBroadcast(t *testing.T, p peer, peers []peer, members []member) {
	values := []any{
		"text é\u2028", 1, -2.5, true, nil, map[string]any{"k": []any{1, "x"}}, []any{},
		call{"$bin": "AQID"}, map[string]any{"deep": []any{call{"$bin": ""}}}, 9007199254740991,
	}
	want, _ := json.Marshal(values)
	p.call(t, "emit", call{"event": "everybody", "args": values})
	for _, m := range members {
		if got := m.args(t, "everybody"); got != string(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	p.call(t, "emit", call{"event": "date", "args": []any{call{"$date": 1700000000123}}})
	for i, m := range members {
		got := m.args(t, "date")
		// Version 7 of Node's adapter does not understand the timestamps of version 8.
		if n, ok := peers[i].(*nodePeer); ok && n.adapter == "redis-7" && got == `[[-1,{"$bin":"HVNTAGVT8QA="}]]` {
			continue
		}
		if got != `["2023-11-14T22:13:20.123Z"]` {
			t.Errorf("got %s", got)
		}
	}
	// Each of these is followed by one that reaches everybody: what came before it is all that came.
	for number, c := range []struct {
		to   call
		gets func(i int) bool
	}{
		{call{"rooms": []string{"r0"}}, func(i int) bool { return i == 0 }},
		{call{"rooms": []string{"r1", "r2"}}, func(i int) bool { return i > 0 }},
		{call{"rooms": []string{"all", "r1"}}, func(int) bool { return true }},
		{call{"rooms": []string{"all"}, "except": []string{"r1"}}, func(i int) bool { return i != 1 }},
		{call{"except": []string{"r0", "r2", "none"}}, func(i int) bool { return i == 1 }},
		{call{"rooms": []string{"42"}}, func(int) bool { return true }},
		{call{"rooms": []string{members[2].sid}}, func(i int) bool { return i == 2 }},
		{call{"rooms": []string{"nobody"}}, func(int) bool { return false }},
	} {
		mark := fmt.Sprintf("%s %d", p.url(), number)
		c.to["event"], c.to["args"] = "some", []any{mark}
		p.call(t, "emit", c.to)
		p.call(t, "emit", call{"event": "fence", "rooms": []string{"all"}})
		for i, m := range members {
			m.args(t, "fence")
			n := 0
			for _, h := range m.events("some") {
				if string(h.Args[0]) == fmt.Sprintf("%q", mark) {
					n++
				}
			}
			if want := c.gets(i); n > 1 || (n == 1) != want {
				t.Errorf("%v: client %d got it %d times", c.to, i, n)
			}
		}
	}
}

func conformNamespace(t *testing.T, b *browsers, p peer, peers []peer) {
	var chat []member
	for _, q := range peers {
		c, sid := b.connect(t, q.url()+"/chat", nil)
		chat = append(chat, member{c, sid})
	}
	p.call(t, "emit", call{"nsp": "/chat", "event": "chat", "args": []any{1}})
	for _, m := range chat {
		if got := m.args(t, "chat"); got != "[1]" {
			t.Errorf("got %s", got)
		}
		b.send(t, map[string]any{"op": "disconnect", "id": m.id})
	}
}

func conformBurst(t *testing.T, p peer, members []member) {
	const n = 1000
	p.call(t, "burst", call{"event": "n", "count": n, "rooms": []string{"all"}})
	for _, m := range members {
		for i := range n {
			if got := m.args(t, "n"); got != fmt.Sprintf("[%d]", i) {
				t.Fatalf("got %s in the place of %d", got, i)
			}
		}
	}
}

func conformAcks(t *testing.T, p peer, members []member) {
	timeout := call{"timeout": patience.Milliseconds()}
	for _, v := range []string{`"q"`, `{"$bin":"AQI="}`, `null`} {
		a := result[answers](t, p, "ask",
			call{"event": "ask", "args": []any{json.RawMessage(v)}, "flags": timeout, "rooms": []string{"all"}})
		if want := strings.Join([]string{v, v, v}, " "); a.sorted() != want {
			t.Errorf("got %s, want %s", a.sorted(), want)
		}
	}
	if a := result[answers](t, p, "ask", call{
		"event": "ask", "flags": timeout, "rooms": []string{"nobody"},
	}); a.sorted() != "" {
		t.Errorf("nobody answered %+v", a)
	}
	for _, m := range members {
		if got := string(p.call(t, "remote",
			call{"event": "ask", "args": []any{"one"}, "rooms": []string{m.sid}})); got != `"one"` {
			t.Errorf("remote socket answered %s", got)
		}
	}
}

func conformFetch(t *testing.T, p peer, members []member) {
	found := result[[]described](t, p, "fetch", call{"rooms": []string{"all"}})
	if len(found) != len(members) {
		t.Fatalf("fetched %d sockets", len(found))
	}
	for _, f := range found {
		i := slices.IndexFunc(members, func(m member) bool { return m.sid == f.ID })
		if i < 0 {
			t.Fatalf("fetched %+v", f)
		}
		slices.Sort(f.Rooms)
		rooms := []string{"42", "all", f.ID, fmt.Sprint("r", i)}
		slices.Sort(rooms)
		data, _ := json.Marshal(f.Data)
		h := f.Handshake
		if !slices.Equal(f.Rooms, rooms) || string(data) != fmt.Sprintf(`{"i":%d}`, i) || h.Address == "" ||
			h.Issued < 1.6e12 || !strings.HasPrefix(h.URL, "/socket.io/") ||
			fmt.Sprint(h.Query["EIO"]) != want(p, "4") {
			t.Errorf("fetched %+v", f)
		}
		if node, ok := p.(*nodePeer); ok && (node != nil && f.Handshake.Headers["host"] == nil) {
			t.Errorf("headers %v", f.Handshake.Headers)
		}
	}
	if found := result[[]described](t, p, "fetch",
		call{"rooms": []string{"r1"}, "except": []string{"r1"}}); len(found) != 0 {
		t.Errorf("fetched %+v", found)
	}
}

// want is a value of a header or query in the notation of a server: the library has lists in Go.
func want(p peer, value string) string {
	if _, ok := p.(*goPeer); ok {
		return "[" + value + "]"
	}
	return value
}

func conformRooms(t *testing.T, p peer, members []member) {
	count := func(room string) int { return len(result[[]described](t, p, "fetch", call{"rooms": []string{room}})) }
	until := func(room string, n int) {
		t.Helper()
		wait.Until(t, fmt.Sprintf("%d members of %s", n, room), func() bool { return count(room) == n })
	}
	p.call(t, "join", call{"rooms": []string{"all"}, "except": []string{"r0"}, "targets": []string{"new", "more"}})
	until("new", 2)
	p.call(t, "emit", call{"rooms": []string{"more"}, "event": "joined"})
	for _, m := range members[1:] {
		m.args(t, "joined")
	}
	p.call(t, "leave", call{"rooms": []string{"new"}, "targets": []string{"more"}})
	until("more", 0)
	p.call(t, "leave", call{"targets": []string{"new"}})
	until("new", 0)
}

func conformServerSide(t *testing.T, p peer, peers []peer) {
	p.call(t, "sse", call{"event": "hello", "args": []any{"x", 1, map[string]any{"k": nil}}})
	for _, q := range peers {
		if q == p {
			continue
		}
		if got := q.heard(t); got != `hello ["x",1,{"k":null}]` {
			t.Errorf("heard %s", got)
		}
	}
	a := result[answers](t, p, "sseAck", call{"event": "ask", "args": []any{7}})
	if got := a.sorted(); got != `["answer",7] ["answer",7]` {
		t.Errorf("got %s", got)
	}
}
