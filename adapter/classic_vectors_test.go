package adapter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/redistest"
)

// vector is a payload that a real emitter or server wrote; see testdata/README.md.
type vector struct {
	ID, Call, Channel, Policy string
	Payload                   []byte
	Expect                    struct {
		Kind, Nsp, Event string
		Rooms            []string
		Args             []any
		Flags            map[string]any
	}
	// Delivered names the clients of a Node.js server that got it, nil where it ended their connections.
	Delivered []string
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(text, &vs); err != nil {
		tb.Fatal(err)
	}
	return vs
}

// fromNotation turns the notation of the vectors into what a client gets.
func fromNotation(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = fromNotation(x[i])
		}
	case map[string]any:
		if b, ok := x["$bin"].(string); ok {
			raw, _ := base64.StdEncoding.DecodeString(b)
			return raw
		}
		if s, ok := x["$int"].(string); ok {
			f, _ := strconv.ParseFloat(s, 64)
			return f
		}
		if r, ok := x["$repeat"].([]any); ok {
			return strings.Repeat(r[0].(string), int(r[1].(float64)))
		}
		for k := range x {
			x[k] = fromNotation(x[k])
		}
	}
	return v
}

// TestVectorsReachClients publishes every broadcast that Node.js understands, and every one that must be ignored, to a
// server with the clients that the vectors were recorded with: the same of them get the same.
func TestVectorsReachClients(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	n := newNode(t, New(rc, Options{}))
	clients := map[string]*client{}
	for _, nsp := range []string{"/", "/chat", "/chat/sub", "/workspace"} {
		n.io.Of(nsp, nil)
	}
	for _, room := range []string{"r1", "r2", "r3", "a#b", "日本"} {
		clients[room] = n.connect("/", socket.Room(room))
	}
	clients["none"], clients["empty"] = n.connect("/"), n.connect("/", "")
	clients["num1.5"], clients["42"] = n.connect("/", "1.5"), n.connect("/", "42")
	clients["chat-none"], clients["chat-r1"] = n.connect("/chat"), n.connect("/chat", "r1")
	clients["sub-none"], clients["ws-none"] = n.connect("/chat/sub"), n.connect("/workspace")
	confirmed(t, n.classic("/").bus)

	for _, v := range vectors(t) {
		if v.Policy != "must" && v.Policy != "must_ignore" || !strings.HasPrefix(v.Channel, "socket.io#/") {
			continue
		}
		if err := rc.Publish(context.Background(), v.Channel, v.Payload).Err(); err != nil {
			t.Fatal(err)
		}
		for _, nsp := range []string{"/", "/chat", "/chat/sub", "/workspace"} {
			fence, _ := json.Marshal([]any{
				"test", map[string]any{"type": 2, "data": []string{"fence"}, "nsp": nsp}, map[string]any{},
			})
			if err := rc.Publish(context.Background(), "socket.io#"+nsp+"#", fence).Err(); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for name, c := range clients {
			if e := c.next(); e[0] != "fence" {
				got = append(got, name)
				want := append([]any{v.Expect.Event}, fromNotation(v.Expect.Args).([]any)...)
				if !reflect.DeepEqual([]any(e), want) {
					t.Errorf("%s: %s: %s got %.200v, want %.200v", v.ID, v.Call, name, e, want)
				}
				if e := c.next(); e[0] != "fence" {
					t.Errorf("%s: %s got %v too", v.ID, name, e)
				}
			}
		}
		slices.Sort(got)
		if v.Expect.Flags["volatile"] == true {
			continue // who is between two polls does not get it
		}
		if want := expected(v, clients); !slices.Equal(got, want) {
			t.Errorf("%s: %s reached %v, want %v", v.ID, v.Call, got, want)
		}
	}
}

// expected names the clients that must get v. A room 42 and a room "42", which differ in Node.js, are one here.
func expected(v vector, clients map[string]*client) []string {
	if v.Policy == "must_ignore" {
		return nil
	}
	var names []string
	if v.Delivered == nil { // Node.js sends a packet that clients do not survive
		for name := range clients {
			if strings.Contains(name, "-") != (v.Expect.Nsp == "/") &&
				(len(v.Expect.Rooms) == 0 || slices.Contains(v.Expect.Rooms, name)) {
				names = append(names, name)
			}
		}
	}
	for _, name := range v.Delivered {
		if name == "num42" || name == "str42" {
			name = "42"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestVectorsOnAllChannels publishes every vector on every kind of channel: nothing panics, and the server still works.
func TestVectorsOnAllChannels(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	n := newNode(t, New(rc, Options{}))
	c := n.connect("/", "r1")
	a := n.classic("/")
	confirmed(t, a.bus)
	if _, err := a.pending.open("test", "q1", 1); err != nil {
		t.Fatal(err)
	}
	defer a.pending.drop("q1")
	for _, v := range vectors(t) {
		if v.Expect.Kind == "request" && strings.Contains(v.Call, "isconnect") {
			continue // would end the client
		}
		for _, channel := range []string{a.base, a.base + "r1#", a.ask, a.answers, a.answers + a.uid + "#"} {
			if err := rc.Publish(context.Background(), channel, v.Payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fence, _ := json.Marshal([]any{"test", map[string]any{"type": 2, "data": []string{"end"}}, map[string]any{}})
	if err := rc.Publish(context.Background(), a.base, fence).Err(); err != nil {
		t.Fatal(err)
	}
	await(t, func() (event, bool) {
		select {
		case e := <-c.events:
			return e, e[0] == "end"
		default:
			return nil, false
		}
	})
	d := n.classic("/").Stats().Dropped
	if d["malformed"] == 0 || d["event_name"] == 0 || d["request_type"] == 0 {
		t.Errorf("counted %+v", d)
	}
}
