package handlers

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// grouped is an outlet that records with which context each connection was served.
type grouped struct {
	*bench
	mu sync.Mutex
	of map[*engine.Conn][]*engine.Group
}

func (o *grouped) deliver(
	_ *engine.Message, conns []*engine.Conn, d engine.DeliverOptions,
) (shed []*engine.Conn, behind lag) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range conns {
		o.of[c] = append(o.of[c], d.Group)
	}
	return nil, nil
}

// Spectators share a context if every decision is the same for them, and get events in the same form.
func TestContexts(t *testing.T) {
	for _, share := range []bool{false, true} {
		b := newBench(t, Config{ShareCompression: share})
		out := &grouped{bench: b, of: map[*engine.Conn][]*engine.Group{}}
		b.g.outlet = out
		watch := func(guild string, bits int, form permissions.Form, positions bool) *engine.Conn {
			c := new(engine.Conn)
			claims, err := permissions.ParseClaims(fmt.Appendf(nil,
				`{"sub":"1","exp":%d,"permissions":0,"guilds":{"%s":%d}}`,
				time.Now().Add(time.Hour).Unix(), guild, bits))
			if err != nil {
				t.Fatal(err)
			}
			v := permissions.View{Guild: guild, Form: form, Positions: positions, Claims: claims}
			if err := b.g.filter.Spectate(c, v, time.Now()); err != nil {
				t.Fatal(err)
			}
			return c
		}
		one, same := watch("7", 2, permissions.FormObject, false), watch("7", 2, permissions.FormObject, false)
		others := []*engine.Conn{
			watch("7", 6, permissions.FormObject, false), watch("7", 2, permissions.FormString, false),
			watch("7", 2, permissions.FormObject, true), watch("8", 2, permissions.FormObject, false),
		}
		for range 3 {
			for _, guild := range []string{"7", "8"} {
				b.g.Message(event.Topic{Guild: guild}, history.Position{}, []byte(`{"kind":"member","payload":1}`))
			}
		}
		g := out.of[one]
		if len(g) != 3 || g[0] != g[1] || g[0] != g[2] || (g[0] != nil) != share {
			t.Errorf("share %v: contexts of one class: %v", share, g)
		}
		if out.of[same][2] != g[2] {
			t.Errorf("share %v: two of one class have two contexts", share)
		}
		seen := map[*engine.Group]bool{g[0]: true}
		for i, c := range others {
			if other := out.of[c]; len(other) != 3 || share && seen[other[0]] {
				t.Errorf("share %v: class %d has the context of another one, or none: %v", share, i, other)
			} else {
				seen[other[0]] = true
			}
		}
	}
}
