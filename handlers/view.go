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

// subscriptions are the confirmed subscriptions of a view, and the stream of its guild, which the view has entered.
// Each function releases one and is nil if there is none.
type subscriptions struct {
	guild, logs func()
	stream      *stream
}

func (h subscriptions) release() {
	if h.stream != nil {
		h.stream.gateway.streams.leave(h.stream)
	}
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
	pv := s.viewOf(v, s.claims.Load())
	if err := pv.Check(time.Now()); err != nil {
		return viewError(err)
	}
	s.sit(topics.stream)
	if err := topics.stream.admit(s.conn(), pv); err != nil {
		return viewError(err) // its claims expired this moment, which ends all
	}
	s.moveTo(v, topics)
	return nil
}

// moveTo records that the socket spectates v in place of what it spectated before, of which nothing is on its way to
// the client after it returns. The turn is held.
func (s *session) moveTo(v view, topics subscriptions) {
	old := s.watched.guild
	s.settle(v, topics, s.topics)
	if old != "" {
		s.gateway.flights.wait(old)
	}
	if old != "" && old != v.guild {
		s.leave(old)
	}
}

// unwatch makes the socket spectate nothing. After it returns, no event of the guild is on its way to the client. The
// turn is held.
func (s *session) unwatch() {
	old := s.watched.guild
	if old == "" {
		return
	}
	s.sit(nil)
	s.gateway.filter.Remove(s.conn())
	s.settle(view{}, subscriptions{}, s.topics)
	if !s.closed {
		s.gateway.flights.wait(old)
	}
	s.leave(old)
}

// sit says of which guild the socket is to get events. If it has followed another one, that ends, and the client is
// told if something was left out there for it. The turn is held.
func (s *session) sit(st *stream) {
	old := s.seat.Swap(st) // before the following ends: none begins any more
	if old == nil || old == st {
		return
	}
	if f := old.unfollow(s.conn()); f != nil && f.owes() && !s.closed {
		s.tellMissed(old.guild, reasonClientOverflow)
	}
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
	admit := func(v view) error {
		pv := s.viewOf(v, c)
		pv.Positions = s.positions.Load()
		return s.topics.stream.admit(s.conn(), pv)
	}
	err := admit(v)
	without := view{guild: v.guild}
	switch {
	case err == nil:
	case errors.Is(err, permissions.ErrNoLogAccess) && admit(without) == nil:
		s.settle(without, subscriptions{guild: s.topics.guild, stream: s.topics.stream},
			subscriptions{logs: s.topics.logs})
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
