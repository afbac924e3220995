package handlers

import (
	"errors"
	"time"

	"github.com/architus/guildcast/permissions"
)

// view is what a socket spectates; the zero value is nothing.
type view struct {
	guild string
	logs  bool
}

// held are the releases of a view's confirmed subscriptions; nil where there is none.
type held struct{ guild, logs func() }

func (h held) release() {
	if h.guild != nil {
		h.guild()
	}
	if h.logs != nil {
		h.logs()
	}
}

func (s *session) viewOf(v view, c *permissions.Claims) permissions.View {
	return permissions.View{Guild: v.guild, Logs: v.logs, Form: s.form, Claims: c}
}

// watch makes the socket spectate v through confirmed subscriptions, in place of what it spectated before. On an error
// nothing has changed. The turn is held.
func (s *session) watch(v view, topics held) *Error {
	if err := s.gateway.filter.Spectate(s.conn(), s.viewOf(v, s.claims.Load()), time.Now()); err != nil {
		return viewError(err)
	}
	old := s.watched.guild
	s.settle(v, topics, s.topics)
	if old != "" {
		s.gateway.flights.wait(old)
	}
	return nil
}

// unwatch ends spectating. When it returns, no event of the guild is on its way to the client. The turn is held.
func (s *session) unwatch() {
	old := s.watched.guild
	if old == "" {
		return
	}
	s.gateway.filter.Remove(s.conn())
	s.settle(view{}, held{}, s.topics)
	if !s.closed {
		s.gateway.flights.wait(old)
	}
}

// settle records what the filter was told. The turn is held.
func (s *session) settle(v view, topics, superfluous held) {
	s.gateway.spectators.move(s, s.watched, v)
	s.watched, s.topics = v, topics
	superfluous.release()
}

// review takes away what refreshed claims no longer allow, and says so. The turn is held.
func (s *session) review(c *permissions.Claims, now time.Time) {
	s.abortTasks(func(t *task) error { return t.allowed(c) })
	if s.watched.guild == "" {
		return
	}
	v := s.watched
	err := s.gateway.filter.Spectate(s.conn(), s.viewOf(v, c), now)
	without := view{guild: v.guild}
	switch {
	case err == nil:
	case errors.Is(err, permissions.ErrNoLogAccess) && s.gateway.filter.Spectate(s.conn(), s.viewOf(without, c), now) == nil:
		s.settle(without, held{guild: s.topics.guild}, held{logs: s.topics.logs})
	default: // the filter still has the old view
		s.unwatch()
	}
	// What was on its way by the old claims comes before the answer to the refresh, and not after it.
	s.gateway.flights.wait(v.guild)
	if err != nil {
		s.emit(eventError, s.form, viewError(err).body(nil, eventSpectate, v.guild))
	}
}

// allowsView tells whether claims allow a view, for a first look. The filter decides.
func allowsView(c *permissions.Claims, v view) error {
	bits, member := c.In(v.guild)
	switch {
	case !member:
		return errNotAMember()
	case v.logs && bits&(permissions.ViewPublicLogs|permissions.ViewPrivateLogs) == 0:
		return viewError(permissions.ErrNoLogAccess)
	}
	return nil
}

// viewError is the filter's refusal as the client gets to know it.
func viewError(err error) *Error {
	switch {
	case errors.Is(err, permissions.ErrNotMember):
		return errNotAMember()
	case errors.Is(err, permissions.ErrExpired):
		return errTokenExpired()
	}
	return errPermission("VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS")
}
