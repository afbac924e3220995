package handlers

import (
	"sync"

	"github.com/architus/guildcast/event"
)

// resyncBody is the payload of resync.
type resyncBody struct {
	GuildID string `json:"guild_id"`
	Reason  string `json:"reason"`
}

// Resync tells the sockets that spectate by topic that events of it may have been missed, and why in a word. It returns
// at once.
func (g *Gateway) Resync(topic event.Topic, reason string) {
	if !topic.Logs {
		g.directories.Lost(topic.Guild)
	}
	sessions := g.spectators.of(topic)
	if len(sessions) == 0 {
		return
	}
	g.spawn(func() {
		body := encode(resyncBody{topic.Guild, reason})
		for _, s := range sessions {
			s.resync(topic, body)
		}
	})
}

// resync tells one socket, unless it spectates something else by now.
func (s *session) resync(topic event.Topic, body []byte) {
	s.take()
	defer s.give()
	if s.watched.guild == topic.Guild && (s.watched.logs || !topic.Logs) {
		s.gateway.metrics.resyncs.Inc()
		s.emit("resync", s.form, body)
	}
}

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
