package permissions_test

import (
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// The next event goes by a new policy: for those who spectate, and for those to whom the past is being replayed.
func TestSetPolicy(t *testing.T) {
	f := permissions.NewFilter[string](permissions.DefaultPolicy())
	claims := mustClaims(t, `{"guilds": {"`+guild+`": 0}, "permissions": 0}`)
	view := permissions.View{Guild: guild, Claims: claims}
	if err := f.Spectate("a", view, at(1)); err != nil {
		t.Fatal(err)
	}
	viewer, err := f.Viewer(view, at(1))
	if err != nil {
		t.Fatal(err)
	}
	e := mustParse(t, event.Topic{Guild: guild}, `{"kind": "member", "payload": {}}`)
	sees := func() (spectator, replay bool) { return len(routed(t, f, e, at(1))) == 1, viewer.Sees(e) }
	strict, err := permissions.DefaultPolicy().With([]byte(`{"kinds": {"member": ["VIEW_SETTINGS"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		policy *permissions.Policy
		want   bool
	}{{"default", permissions.DefaultPolicy(), true}, {"strict", strict, false},
		{"default again", permissions.DefaultPolicy(), true}, {"none", nil, false}} {
		f.SetPolicy(c.policy)
		if spectator, replay := sees(); spectator != c.want || replay != c.want {
			t.Errorf("%s: a spectator sees it: %t, a replay: %t; want %t", c.name, spectator, replay, c.want)
		}
	}
}
