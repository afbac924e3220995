//go:build integration

package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/internal/test/redistest"
)

// emitterCalls are run on Node's emitter and on ours.
var emitterCalls = []string{
	`{"op":"emit","args":["hello"]}`,
	`{"op":"emit","args":["hello",1,-1,0.5,"☃",null,true,[],{},{"a":[{"b":"c"}]}]}`,
	`{"op":"emit","args":["numbers",127,128,255,256,65535,65536,4294967295,4294967296,9007199254740991,-32,-33,-128,-129,-32769,-2147483649]}`,
	`{"op":"emit","args":["binary",{"$bin":"AAEC"},[{"$bin":""}]]}`,
	`{"nsp":"chat","rooms":["r1"],"op":"emit","args":["one"]}`,
	`{"nsp":"/chat","rooms":["r1","r2","r1"],"except":["x"],"op":"emit","args":["many"]}`,
	`{"rooms":["a#b"],"flags":[["volatile",true]],"op":"emit","args":["v"]}`,
	`{"flags":[["compress",false],["volatile",true],["compress",true]],"op":"emit","args":["flags"]}`,
	`{"op":"socketsJoin","args":[["a","b"]]}`,
	`{"rooms":["r"],"except":["x","y"],"op":"socketsJoin","args":[["ü\"<&>"]]}`,
	`{"rooms":["r"],"op":"socketsLeave","args":[["a"]]}`,
	`{"nsp":"/n","op":"disconnectSockets","args":[]}`,
	`{"rooms":["r"],"op":"disconnectSockets","args":[true]}`,
	`{"op":"serverSideEmit","args":["event",1,{"x":"<>"},null]}`,
}

// TestEmitterBytes: what the emitter publishes is what Node's publishes, byte for byte.
func TestEmitterBytes(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "other"} {
		t.Run("key "+key, func(t *testing.T) { testEmitterBytes(t, key) })
	}
}

func testEmitterBytes(t *testing.T, key string) {
	cmd := exec.Command("node", "nodejs/sharded/emitter.mjs")
	cmd.Env = append(os.Environ(), "KEY="+key)
	cmd.Stdin = strings.NewReader(strings.Join(emitterCalls, "\n"))
	out, err := cmd.Output()
	must(t, err)
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(want) != len(emitterCalls) {
		t.Fatalf("node published %d messages", len(want))
	}

	server := redistest.Start(t)
	listener := server.Client()
	sub := listener.PSubscribe(t.Context(), "*")
	defer sub.Close()
	if _, err := sub.ReceiveTimeout(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	e := adapter.NewEmitter(server.Client(), adapter.EmitterOptions{Key: key})
	for i, call := range emitterCalls {
		must(t, runEmitter(t, e, call))
		m, err := sub.ReceiveTimeout(t.Context(), patience)
		must(t, err)
		msg := m.(*goredis.Message)
		var w struct{ Channel, Payload string }
		must(t, json.Unmarshal([]byte(want[i]), &w))
		payload, err := base64.StdEncoding.DecodeString(w.Payload)
		must(t, err)
		if msg.Channel != w.Channel || !bytes.Equal([]byte(msg.Payload), payload) {
			t.Errorf("%s:\n got %s %q\nwant %s %q", call, msg.Channel, msg.Payload, w.Channel, payload)
		}
	}
}

// runEmitter does with ours what node/sharded/emitter.mjs does with Node's.
func runEmitter(t testing.TB, e *adapter.Emitter, call string) error {
	t.Helper()
	var c struct {
		Nsp           *string
		Rooms, Except []string
		Flags         [][2]any
		Op            string
		Args          json.RawMessage
	}
	must(t, json.Unmarshal([]byte(call), &c))
	if c.Nsp != nil {
		e = e.Of(*c.Nsp)
	}
	for _, r := range rooms(c.Rooms) {
		e = e.To(r)
	}
	e = e.Except(rooms(c.Except)...)
	for _, f := range c.Flags {
		if f[0] == "volatile" {
			e = e.Volatile()
		} else {
			e = e.Compress(f[1].(bool))
		}
	}
	args := argsOf(c.Args)
	var names []socket.Room
	if len(args) > 0 {
		if list, ok := args[0].([]any); ok {
			for _, r := range list {
				names = append(names, socket.Room(r.(string)))
			}
		}
	}
	switch c.Op {
	case "emit":
		return e.Emit(args[0].(string), args[1:]...)
	case "socketsJoin":
		return e.SocketsJoin(names...)
	case "socketsLeave":
		return e.SocketsLeave(names...)
	case "disconnectSockets":
		return e.DisconnectSockets(len(args) > 0 && args[0] == true)
	default:
		return e.ServerSideEmit(args...)
	}
}
