package guildcasttest_test

import (
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/guildcasttest"
	"github.com/architus/guildcast/permissions"
)

func TestNickReachesTheDashboard(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{})
	n.SetEntities("4242", "member", map[string]any{"id": "7", "name": "ana", "nick": "Ann"})

	ana := n.Connect(n.Token(guildcasttest.Claims{
		User: "7", Guilds: map[string]permissions.Bits{"4242": permissions.ViewPublicLogs},
	}))
	ana.Spectate("4242", map[string]any{"include_logs": true})
	if members, _ := ana.Pool(map[string]any{"type": "member", "guild_id": "4242"}); len(members) != 1 {
		t.Errorf("members: %s", members)
	}

	// In place of this, your bot publishes to n.Redis.
	n.Publish(guildcasttest.Event{Guild: "4242", Kind: event.KindMember, Payload: map[string]string{"nick": "Anne"}})

	if got := ana.Wait("log_pool"); string(got.Payload) != `{"nick":"Anne"}` {
		t.Errorf("got %s", got)
	}
}
