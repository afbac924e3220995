package adapter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/values"
)

// TestValues holds that every value of Go is the same to all clients, wherever they are and whichever way it comes.
func TestValues(t *testing.T) {
	t.Parallel()
	t.Run("classic", func(t *testing.T) {
		_, c := redistest.Mini(t)
		testValues(t, classicCluster(t, c, 2, Options{RequestsTimeout: patience}), NewEmitter(c, EmitterOptions{}))
	})
	t.Run("sharded", func(t *testing.T) {
		c := redistest.Shared(t).Client()
		nodes := shardedCluster(t, c, 2, ShardedOptions{RequestsTimeout: patience})
		testValues(t, nodes, NewShardedEmitter(c, ShardedEmitterOptions{}))
	})
}

func testValues(t *testing.T, nodes []*node, emitter *Emitter) {
	clients := []*client{nodes[0].connect("/"), nodes[1].connect("/")}
	for _, c := range clients {
		c.acks = func(event) []any { return []any{"yes"} }
	}
	heard := make(chan []any, 1)
	nodes[1].io.On("value", func(args ...any) {
		if ack, ok := args[len(args)-1].(socket.Ack); ok {
			ack([]any{caseNamed(args[0].(string)).New()}, nil)
			return
		}
		heard <- args
	})
	nsp := nodes[0].io.Of("/", nil)
	classic := nodes[0].cluster("/").kind != bus.Shard
	for _, c := range values.Cases() {
		all := func(way string, err error) {
			t.Helper()
			if (err != nil) != (c.Want == "") {
				t.Errorf("%s, %s: %v", way, c.Name, err)
			}
			for i, client := range clients {
				if c.Want == "" {
					continue // what comes all the same comes in the place of the next value
				}
				if e := client.next(); e[1] != c.Name || textOf(t, e[2], false) != textOf(t, wanted(t, c), false) {
					t.Errorf("%s, client %d: got %s %s; want %s %s", way, i, e[1], textOf(t, e[2], false), c.Name,
						c.Want)
				}
			}
		}
		nodes[0].io.Emit("value", c.Name, c.New())
		if c.Want != "" {
			all("emit", nil)
		}
		_, err := EmitWithAck(context.Background(), nsp, nil, "value", c.Name, c.New())
		if e := (*IncompleteError)(nil); errors.As(err, &e) {
			t.Errorf("%s: waited for answers: %v", c.Name, err)
		}
		all("emit with acknowledgement", err)
		all("emitter", emitter.Emit("value", c.Name, c.New()))

		err = nodes[0].io.ServerSideEmit("value", c.Name, c.New())
		if (err != nil) != (c.Want == "") {
			t.Errorf("server side, %s: %v", c.Name, err)
		}
		if c.Want == "" {
			continue
		}
		// Between servers the classic protocol has JSON, as in Node.js, where binary becomes an object.
		want := textOf(t, wanted(t, c), classic)
		if args := receive(t, heard); args[0] != c.Name || textOf(t, args[1], classic) != want {
			t.Errorf("server side: got %s %s; want %s %s", args[0], textOf(t, args[1], classic), c.Name, want)
		}
		answers := make(chan []any, 1)
		nodes[0].io.ServerSideEmitWithAck("value", c.Name)(func(values []any, err error) {
			if err != nil {
				t.Errorf("answer, %s: %v", c.Name, err)
			}
			answers <- values
		})
		if values := receive(t, answers); len(values) != 1 || textOf(t, values[0], classic) != want {
			t.Errorf("answer: %v; want %s %s", values, c.Name, want)
		}
	}
}

func caseNamed(name string) values.Case {
	for _, c := range values.Cases() {
		if c.Name == name {
			return c
		}
	}
	panic("no case " + name)
}

// wanted is what a client gets, binary as []byte.
func wanted(t *testing.T, c values.Case) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(c.Want), &v); err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return withBinary(v)
}

// textOf is the JSON of a value, with binary as {"$bin": base64}, or in the form of Node's Buffer.
func textOf(t *testing.T, v any, buffers bool) string {
	t.Helper()
	text, err := json.Marshal(mapBinary(v, func(b []byte) any {
		if !buffers {
			return map[string]any{"$bin": base64.StdEncoding.EncodeToString(b)}
		}
		numbers := make([]int, len(b))
		for i := range b {
			numbers[i] = int(b[i])
		}
		return map[string]any{"type": "Buffer", "data": numbers}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mapBinary returns v with f of the binary in it.
func mapBinary(v any, f func([]byte) any) any {
	switch x := v.(type) {
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = mapBinary(x[i], f)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for k := range x {
			out[k] = mapBinary(x[k], f)
		}
		return out
	case []byte, interface{ Bytes() []byte }:
		return f(bytesOf(x))
	}
	return v
}

func receive[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}
