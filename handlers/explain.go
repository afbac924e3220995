package handlers

import (
	"errors"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

// Reasons of Explain beside those of the permissions.
const (
	// ReasonMalformed means that the node drops the message.
	ReasonMalformed permissions.Reason = botwire.WordMalformed

	ReasonNotElevated   permissions.Reason = botwire.WordNotElevated
	ReasonNotSpectating permissions.Reason = "not_spectating" // the guild of the event
)

// ErrNoSocket reports that no socket of the node has an id.
var ErrNoSocket = errors.New("no socket of this node has the id")

// Explain returns whether the socket with this id would get a message of a topic that arrived now, and why. Without a
// guild the topic is of the guild that the socket spectates.
func (g *Gateway) Explain(socketID string, topic event.Topic, message []byte) (permissions.Report, error) {
	s := g.sessionWithID(socketID)
	if s == nil {
		return permissions.Report{}, ErrNoSocket
	}
	s.take()
	claims, watched := s.claims.Load(), s.watched
	s.give()
	if topic.Guild == "" {
		topic.Guild = watched.guild
	}
	v := permissions.View{Guild: topic.Guild, Logs: watched.logs, Claims: claims}
	there := topic.Guild != "" && topic.Guild == watched.guild
	if !there {
		v.Logs = topic.Logs
	}
	e, err := event.Parse(topic, message)
	x := g.filter.Explain(v, &e, time.Now())
	r := x.Report(v, &e)
	switch {
	case err != nil:
		r.Reason, r.Detail = ReasonMalformed, err.Error()
	case claims == nil:
		r.Reason = ReasonNotElevated
	case !there:
		r.Reason = ReasonNotSpectating
	}
	r.Sees = r.Reason == permissions.ReasonAllowed
	return r, nil
}

// sessionWithID returns the session of a socket, or nil if there is none.
func (g *Gateway) sessionWithID(id string) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}
