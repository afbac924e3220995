package handlers

import (
	"sync"

	"github.com/architus/guildcast/event"
)

// spectators are the sessions that spectate, by guild.
type spectators struct {
	mu     sync.Mutex
	guilds map[string]map[*session]bool // true if with logs
}

func newSpectators() *spectators { return &spectators{guilds: map[string]map[*session]bool{}} }

// move records that the view of s has changed.
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

// of returns the sessions that need a topic.
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
