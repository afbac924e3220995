package guildcasttest_test

import (
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/guildcasttest"
	"github.com/architus/guildcast/permissions"
)

// A bot that publishes what its test wants to see in a dashboard.
func Example() {
	_ = func(t *testing.T) { // func TestBot(t *testing.T)
		n := guildcasttest.Start(t, guildcasttest.Options{})
		ana := n.Connect(n.Token(guildcasttest.Claims{
			User: "214037134477230080", Guilds: map[string]permissions.Bits{"4242": permissions.ViewPublicLogs},
		}))
		ana.Spectate("4242", map[string]any{"include_logs": true})

		// Here the bot would publish to n.Redis.
		n.Publish(guildcasttest.Event{
			Guild: "4242", Kind: event.KindMember, Payload: map[string]any{"nick": "ana"},
		})

		if got := ana.Wait("log_pool"); string(got.Payload) != `{"nick":"ana"}` {
			t.Errorf("got %s", got)
		}
	}
	// Output:
}
