package handlers

import (
	"errors"
	"time"

	"github.com/architus/guildcast/permissions"
)

// view is what a socket spectates. The zero value is nothing.
type view struct {
	guild string
	logs  bool
}

// subscriptions are the confirmed subscriptions of a view. Each function releases one and is nil if there is none.
type subscriptions struct{ guild, logs func() }

func (h subscriptions) release() {
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

// watch makes the socket spectate v, which topics are confirmed for, in place of what it spectated before. On an error
// nothing has changed. The turn is held.
func (s *session) watch(v view, topics subscriptions) *Error {
	if err := s.gateway.filter.Spectate(s.conn(), s.viewOf(v, s.claims.Load()), time.Now()); err != nil {
		return viewError(err)
	}
	old := s.watched.guild
	s.settle(v, topics, s.topics)
	if old != "" {
		s.gateway.flights.wait(old)
	}
	if old != "" && old != v.guild {
		s.leave(old)
	}
	return nil
}

// unwatch makes the socket spectate nothing. After it returns, no event of the guild is on its way to the client. The
// turn is held.
func (s *session) unwatch() {
	old := s.watched.guild
	if old == "" {
		return
	}
	s.gateway.filter.Remove(s.conn())
	s.settle(view{}, subscriptions{}, s.topics)
	if !s.closed {
		s.gateway.flights.wait(old)
	}
	s.leave(old)
}

// settle records the view that the filter has, and releases subscriptions that it no longer needs. The turn is held.
func (s *session) settle(v view, topics, superfluous subscriptions) {
	s.gateway.spectators.move(s, s.watched, v)
	s.watched, s.topics = v, topics
	superfluous.release()
}

// review ends what refreshed claims no longer allow, and tells the client. The turn is held.
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
	case errors.Is(err, permissions.ErrNoLogAccess) &&
		s.gateway.filter.Spectate(s.conn(), s.viewOf(without, c), now) == nil:
		s.settle(without, subscriptions{guild: s.topics.guild}, subscriptions{logs: s.topics.logs})
	default: // the filter has kept the old view
		s.unwatch()
	}
	// Events that the old claims allowed reach the client before the answer to the refresh, and not after it.
	s.gateway.flights.wait(v.guild)
	if err != nil {
		s.emit(eventError, s.form, viewError(err).body(nil, eventSpectate, v.guild))
	}
}

// allowsView returns an error if claims clearly don't allow a view. It is a first check: the filter decides.
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

// viewError returns the filter's refusal as the client sees it.
func viewError(err error) *Error {
	switch {
	case errors.Is(err, permissions.ErrNotMember):
		return errNotAMember()
	case errors.Is(err, permissions.ErrExpired):
		return errTokenExpired()
	}
	return errPermission("VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS")
}
