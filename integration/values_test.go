//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/internal/test/values"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestAdapterValues: what Go emits is the same to the clients of the server that emits it, of another one and of
// Node.js, and what they answer comes back as the same.
func TestAdapterValues(t *testing.T) {
	t.Parallel()
	r, b := startRedis(t), startBrowsers(t)
	client := goRedis(t, r.url)
	for _, c := range []struct {
		node    string
		server  socket.AdapterConstructor
		other   socket.AdapterConstructor
		emitter *adapter.Emitter
	}{
		{
			"redis", adapter.New(client, adapter.Options{RequestsTimeout: patience}),
			adapter.New(client, adapter.Options{}),
			adapter.NewEmitter(client, adapter.EmitterOptions{}),
		},
		{
			"sharded", adapter.NewSharded(client, adapter.ShardedOptions{RequestsTimeout: patience}),
			adapter.NewSharded(client, adapter.ShardedOptions{}),
			adapter.NewShardedEmitter(client, adapter.ShardedEmitterOptions{}),
		},
	} {
		t.Run(c.node, func(t *testing.T) {
			first := startGoPeer(t, c.server)
			peers := []peer{first, startGoPeer(t, c.other), startNodePeer(t, r.url, c.node, "{}")}
			wait.Until(t, "three servers", func() bool { return result[int](t, first, "serverCount", nil) == 3 })
			var members []member
			for _, p := range peers {
				cl, sid := b.connect(t, p.url(), nil)
				members = append(members, member{cl, sid})
			}
			for _, v := range values.Cases() {
				emitEverywhere(t, v, first.io, c.emitter, members)
			}
		})
	}
}

func emitEverywhere(t *testing.T, c values.Case, io *socket.Server, emitter *adapter.Emitter, members []member) {
	t.Helper()
	io.Emit("value", c.Name, c.New())
	if err := emitter.Emit("value", c.Name, c.New()); (err != nil) != (c.Want == "") {
		t.Errorf("%s: emitter: %v", c.Name, err)
	}
	answers, err := adapter.EmitWithAck(context.Background(), io.Of("/", nil), nil, "echo", c.New())
	if (err != nil) != (c.Want == "") || c.Want != "" && len(answers) != len(members) {
		t.Errorf("%s: acknowledged: %v, %v", c.Name, answers, err)
	}
	if c.Want == "" {
		return
	}
	want := compact(t, c.Want)
	for i, m := range members {
		for _, way := range []string{"server", "emitter"} {
			if got := m.args(t, "value"); got != compact(t, []any{c.Name, json.RawMessage(want)}) {
				t.Errorf("%s, client %d: got %s, want %s", way, i, got, want)
			}
		}
	}
	for _, v := range answers {
		if c.Name == values.Huge {
			continue
		}
		if got := compact(t, []any{notation(v)}); got != "["+want+"]" {
			t.Errorf("%s: answered %s, want %s", c.Name, got, want)
		}
	}
}
