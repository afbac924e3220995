package handlers_test

import (
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/event"
)

func TestDemote(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	c := elevated(t, n, tok)
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
	c.expect("spectate_return")
	ack := c.ask("demote", map[string]any{"token": tok, "_id": 3})
	got := c.expect("elevation_expired")
	if string(ack) != "["+string(got.arg)+"]" || got.as(t)["reason"] != "demoted" || got.as(t)["_id"] != 3.0 {
		t.Fatalf("got %v and %s", got, ack)
	}
	n.io.To(socket.Room(c.sid+"_auth")).Emit("hello", 1)
	n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
	n.io.To(socket.Room(c.sid)).Emit("still", 1)
	c.expect("still")
	c.emit("demote", map[string]any{"token": tok})
	wantError(t, c.expect("error").as(t), 409, "not_elevated")
}
