package handlers

import (
	"sync"

	"github.com/architus/guildcast/event"
)

// spectators finds the sessions that spectate a guild.
type spectators struct {
	mu     sync.Mutex
	guilds map[string]map[*session]bool // true with logs
}

func newSpectators() *spectators { return &spectators{guilds: map[string]map[*session]bool{}} }

// move takes s from one view to another.
func (x *spectators) move(s *session, from, to view) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if set := x.guilds[from.guild]; set != nil {
		delete(set, s)
		if len(set) == 0 {
			delete(x.guilds, from.guild)
		}
	}
	if to.guild == "" {
		return
	}
	if x.guilds[to.guild] == nil {
		x.guilds[to.guild] = map[*session]bool{}
	}
	x.guilds[to.guild][s] = to.logs
}

func (x *spectators) of(t event.Topic) (list []*session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for s, logs := range x.guilds[t.Guild] {
		if logs || !t.Logs {
			list = append(list, s)
		}
	}
	return list
}
