package handlers

import (
	"github.com/architus/guildcast/event"
)

// resyncBody is the payload of resync.
type resyncBody struct {
	GuildID string `json:"guild_id"`
	Reason  string `json:"reason"`
}

// Resync tells the sockets that spectate through topic that they may have missed events. Reason is a word for programs.
// Resync returns at once.
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

// resync tells one socket, unless it now spectates something else.
func (s *session) resync(topic event.Topic, body []byte) {
	s.take()
	defer s.give()
	if s.watched.guild == topic.Guild && (s.watched.logs || !topic.Logs) {
		s.gateway.metrics.resyncs.Inc()
		s.emit(eventResync, s.form, body)
	}
}
