package handlers

import (
	"encoding/json"

	"github.com/architus/guildcast/internal/botwire"
)

// Reasons of elevation_expired.
const (
	reasonExpired = "expired"
	reasonRevoked = "revoked"
	reasonDemoted = "demoted"
)

// expiredBody is the payload of elevation_expired.
type expiredBody struct {
	Reason string          `json:"reason"`
	ID     json.RawMessage `json:"_id,omitempty"`
}

// onDemote handles a `demote` request, which ends the socket's elevation.
func onDemote(r *request) error {
	s := r.session
	if _, err := s.authorize(r); err != nil {
		return err
	}
	s.take()
	defer s.give()
	if s.claims.Load() == nil {
		return s.lost // it ended meanwhile
	}
	r.answer(eventElevationExpired, s.demote(reasonDemoted, errDemoted("The socket was demoted."), r.id))
	return nil
}

// demote ends the elevation and returns the payload of elevation_expired. The turn is held.
func (s *session) demote(reason string, why *Error, id []byte) []byte {
	s.drop(why)
	s.gateway.metrics.demotions.WithLabelValues(reason).Inc()
	return encode(expiredBody{Reason: reason, ID: id})
}

// drop ends the elevation and all that needed it. Tasks in progress end with why. After it returns, nothing that needed
// the elevation reaches the client. The turn is held.
func (s *session) drop(why *Error) {
	if s.claims.Swap(nil) == nil {
		return
	}
	s.gateway.metrics.elevated.Dec()
	s.lost = why
	s.alarm.stop()
	s.gateway.filter.Remove(s.conn())
	s.gateway.bearers.remove(s.bearer)
	s.bearer = nil
	s.peer.Leave(s.room())
	s.abortTasks(func(*task) error { return why })
	s.unwatch()
	s.gateway.directories.Leave(s)
}

func errDemoted(human string) *Error {
	return newError(botwire.WordDemoted, human)
}
