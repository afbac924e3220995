package adapter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
)

// emitterCall is one call in testdata/emitter.json, with what @socket.io/redis-emitter 5.1.0 publishes for it.
type emitterCall struct {
	Call struct {
		Nsp           *string
		Rooms, Except []socket.Room
		Flags         [][2]any
		Op            string
		Args          []any
	}
	Channel string
	Payload []byte
}

func (c *emitterCall) run(e *Emitter) error {
	if c.Call.Nsp != nil {
		e = e.Of(*c.Call.Nsp)
	}
	e = e.To(c.Call.Rooms...).Except(c.Call.Except...)
	for _, f := range c.Call.Flags {
		if f[0] == "volatile" {
			e = e.Volatile()
		} else {
			e = e.Compress(f[1].(bool))
		}
	}
	args := withBinary(c.Call.Args).([]any)
	var names []socket.Room
	if len(args) > 0 {
		list, _ := args[0].([]any)
		for _, r := range list {
			names = append(names, socket.Room(r.(string)))
		}
	}
	switch c.Call.Op {
	case "emit":
		return e.Emit(args[0].(string), args[1:]...)
	case "socketsJoin":
		return e.SocketsJoin(names...)
	case "socketsLeave":
		return e.SocketsLeave(names...)
	case "disconnectSockets":
		return e.DisconnectSockets(len(args) > 0 && args[0] == true)
	}
	return e.ServerSideEmit(args...)
}

func withBinary(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = withBinary(x[i])
		}
	case map[string]any:
		if s, ok := x["$bin"].(string); ok {
			b, _ := base64.StdEncoding.DecodeString(s)
			return b
		}
		for k := range x {
			x[k] = withBinary(x[k])
		}
	}
	return v
}

// TestEmitterGolden compares with the bytes of Node's emitter.
func TestEmitterGolden(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/emitter.json")
	if err != nil {
		t.Fatal(err)
	}
	var calls []emitterCall
	if err := json.Unmarshal(b, &calls); err != nil {
		t.Fatal(err)
	}
	_, client := redistest.Mini(t)
	direct := NewEmitter(client, EmitterOptions{})
	shared := bus.New(client, bus.Options{})
	defer shared.Close(t.Context())
	queued := NewEmitter(client, EmitterOptions{Bus: shared})
	sub := client.PSubscribe(t.Context(), "*")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		for _, e := range []*Emitter{direct, queued} {
			if err := c.run(e); err != nil {
				t.Fatal(err)
			}
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Channel != c.Channel || m.Payload != string(c.Payload) {
				t.Errorf("%+v:\n got %s %q\nwant %s %q", c.Call, m.Channel, m.Payload, c.Channel, c.Payload)
			}
		}
	}
}

func TestEmitterErrors(t *testing.T) {
	t.Parallel()
	mini, client := redistest.Mini(t)
	for _, e := range []*Emitter{
		NewEmitter(client, EmitterOptions{}), NewShardedEmitter(client, ShardedEmitterOptions{}),
	} {
		if err := e.Emit("disconnect"); !errors.Is(err, ErrReservedEvent) {
			t.Error(err)
		}
		if err := e.Emit("x", func() {}); !errors.Is(err, ErrEmitterAck) {
			t.Error(err)
		}
		if err := e.ServerSideEmit("x", socket.Ack(nil)); !errors.Is(err, ErrEmitterAck) {
			t.Error(err)
		}
		if err := e.ServerSideEmit(); !errors.Is(err, ErrNoEvent) {
			t.Error(err)
		}
		if err := e.Emit("x", make(chan int)); err == nil {
			t.Error("a channel was encoded")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.WithContext(ctx).Emit("x"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	mini.Close()
	if err := NewEmitter(client, EmitterOptions{}).Emit("x"); err == nil {
		t.Error("sent without Redis")
	}
}

// TestEmitterOrder shows that what one goroutine emits arrives in order, in a cluster too.
func TestEmitterOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, client redis.UniversalClient) {
		n := newNode(t, New(client, Options{}))
		c := n.connect("/", "r1", "r2", "r3")
		e := NewEmitter(client, EmitterOptions{})
		for i := range 300 {
			if err := e.To([]socket.Room{"r1", "r2", "r3"}[i%3]).Emit("n", i); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 300 {
			c.wants("n", float64(i))
		}
	})
}
