package handlers_test

import "testing"

func TestPoolLight(t *testing.T) {
	n := start(t, nil)
	tok := token(t, nil)
	c := connect(t, n.server, map[string]any{"token": tok})
	c.expect("request_elevation_return")
	n.pools.put(guildA, "member", "5", `{"id":"5","name":"Zoë"}`)
	n.pools.put("", "user", "5", `{"id":"5","username":"zoe"}`)
	c.emit("pool", map[string]any{"type": "member", "guild_id": guildA, "token": tok, "_id": "x"})
	t.Log(c.expect("pool_response"))
	t.Log(c.expect("pool_response"))
	t.Log(string(c.ask("pool", map[string]any{"type": "member", "guild_id": guildA, "token": tok, "request": "search", "query": "zo", "_id": "x"})))
	t.Log(c.next())
	t.Log(c.next())
	t.Log(string(c.ask("interpret", map[string]any{"action": 3001, "guild_id": 4211, "message_id": 2, "content": "!set hi::hey", "allowed_commands": []string{"set"}})))
}
