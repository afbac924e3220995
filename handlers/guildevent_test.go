package handlers_test

import (
	"testing"

	"github.com/architus/guildcast/event"
)

func TestGuildEvents(t *testing.T) {
	n := start(t, nil)
	topic, logs := event.Topic{Guild: guildA}, event.Topic{Guild: guildA, Logs: true}
	watch := func(bits any, includeLogs, asString bool) *client {
		tok := mint(t, map[string]any{"guilds": map[string]any{guildA: bits}, "permissions": 0})
		c := connect(t, n.server, nil)
		if asString {
			c.emit("request_elevation", tok)
		} else {
			c.emit("request_elevation", map[string]any{"token": tok})
		}
		c.expect("request_elevation_return")
		c.emit("spectate", map[string]any{"guild_id": guildA, "include_logs": includeLogs, "token": tok})
		c.expect("spectate_return")
		return c
	}
	member, viewer, private := watch(0, false, false), watch(2, true, true), watch("0x4", true, false)
	const odd = `{"x": 1.0,  "big":607637793107345431,"s":"<\u0041>"}`
	n.publish(topic, `{"kind":"member","payload":`+odd+`}`)
	n.publish(topic, `{"kind":"setting","payload":1}`)
	n.publish(logs, `{"kind":"message","payload":2}`)
	n.publish(logs, `{"kind":"message","private":true,"payload":3}`)
	n.publish(topic, `{"kind":"nonsense","payload":4}`)
	n.publish(topic, `garbage`)
	n.publish(topic, `{"event":"connect","kind":"member","payload":5}`)
	n.publish(logs, `{"id":"1","guild_id":"`+guildA+`","action_number":20,"private":false}`)
	n.publish(logs, `{"event":"now_playing","kind":"guild","payload":6}`)
	n.publish(topic, `{"kind":"member","requires":["VIEW_PRIVATE_LOGS"],"payload":7}`)
	n.publish(topic, `{"event":"end","kind":"guild","payload":null}`)

	for name, tt := range map[string]struct {
		c    *client
		want []string
	}{
		"member": {member, []string{"log_pool " + odd, "end null"}},
		"viewer": {viewer, []string{"log_pool " + marshalRaw(odd), `log_other "2"`, `now_playing "6"`, `end "null"`}},
		"private": {private, []string{"log_pool " + odd, "log_other 3",
			`log_other {"id":"1","guild_id":"` + guildA + `","action_number":20,"private":false}`, "now_playing 6",
			"log_pool 7", "end null"}},
	} {
		for _, want := range tt.want {
			if got := tt.c.next().String(); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	}
}
