package handlers_test

import (
	"testing"

	"github.com/architus/guildcast/event"
)

func TestFirstLight(t *testing.T) {
	n := start(t, nil)
	c := connect(t, n.server, nil)
	tok := token(t, nil)
	c.emit("request_elevation", tok)
	h := c.expect("request_elevation_return")
	t.Log(h)
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok, "_id": 7})
	t.Log(c.expect("spectate_return"))
	n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":{"x":1}}`)
	t.Log(c.expect("log_pool"))
	t.Log(string(c.ask("demote", map[string]any{"token": tok})))
	t.Log(c.expect("elevation_expired"))
}
