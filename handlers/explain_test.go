package handlers_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/permissions"
)

func TestExplain(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 0, guildB: 0}})
	anonymous, idle, spectator := connect(t, n.server, nil), elevated(t, n, tok), elevated(t, n, tok)
	spectator.emit("spectate", map[string]any{"guild_id": guildA, "include_logs": true, "token": tok})
	spectator.expect("spectate_return")

	const public, private = `{"kind":"message","payload":{}}`, `{"kind":"message","private":true,"payload":{}}`
	for _, c := range []struct {
		sid     string
		topic   event.Topic
		message string
		reason  permissions.Reason
		missing []string
	}{
		{anonymous.sid, event.Topic{Guild: guildA}, public, handlers.ReasonNotElevated, []string{"VIEW_PUBLIC_LOGS"}},
		{idle.sid, event.Topic{Guild: guildA, Logs: true}, public, handlers.ReasonNotSpectating, []string{}},
		{idle.sid, event.Topic{}, public, handlers.ReasonNotSpectating, []string{"VIEW_PUBLIC_LOGS"}},
		{spectator.sid, event.Topic{Guild: guildB}, public, handlers.ReasonNotSpectating, []string{}},
		{spectator.sid, event.Topic{}, public, permissions.ReasonAllowed, []string{}},
		{spectator.sid, event.Topic{Logs: true}, private, permissions.ReasonMissing, []string{"VIEW_PRIVATE_LOGS"}},
		{spectator.sid, event.Topic{Guild: guildA}, `{"kind":"x","payload":{}}`, permissions.ReasonUnknownKind,
			[]string{}},
		{spectator.sid, event.Topic{Guild: guildA}, `{"kind":"x"`, handlers.ReasonMalformed, []string{}},
	} {
		r, err := n.gateway.Explain(c.sid, c.topic, []byte(c.message))
		if err != nil || r.Reason != c.reason || !slices.Equal(r.Missing, c.missing) ||
			r.Sees != (c.reason == permissions.ReasonAllowed) {
			t.Errorf("%s of %+v: %+v, %v; want %s and %v missing", c.message, c.topic, r, err, c.reason, c.missing)
		}
	}
	if _, err := n.gateway.Explain("nobody", event.Topic{}, []byte(public)); !errors.Is(err, handlers.ErrNoSocket) {
		t.Errorf("a socket that is not there: %v", err)
	}
}
