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

// of returns the sessions that spectate one of topics, each once, and those of a guild together.
func (x *spectators) of(topics []event.Topic) (list []spectating) {
	missed := map[string]event.Topic{} // by guild; that of the logs only if nothing else was missed
	for _, t := range topics {
		if other, there := missed[t.Guild]; !there || other.Logs {
			missed[t.Guild] = t
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for guild, t := range missed {
		for s, logs := range x.guilds[guild] {
			if logs || !t.Logs {
				list = append(list, spectating{s, guild})
			}
		}
	}
	return list
}
